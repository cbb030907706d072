"""Train and score every method of adaptation, plain and with CoTo: ``python data/make_variants.py``, or ``make variants``.

What is compared is in `coto_lab.studies.variants`. A leg, a method and a way (plain or CoTo) are a part: first a sweep over
learning rates on a seed of its own, then five seeds at the best rate. A part's scores are written to ``--parts`` as soon as
they are there, and parts that are there are not made again; two parts are made side by side, each on one thread. Then a file
in ``data/gallery`` joins all parts, beside the adapters of one seed in half precision.

Of a part: ``sweep`` is rate -> test accuracy in %; ``lr`` the best rate; ``alone``, ``loss`` of each seed; ``pruned``: every
other block kept, the mean of both halves; ``fused`` and ``ensemble``: of all pairs of seeds; ``seconds``: the mean of a step;
``losses``: each seed's training loss in 20 parts of the training; ``gradient``: each block's share. Where a start rewrites the
base, ``pruned_as_trained`` and ``none_as_trained`` are about blocks that compute what a dropped block computes in training.
``cost`` is about each method on a leg: ``parameters``, trained numbers; ``step``, the time of a step over that of LoRA;
``saving`` of CoTo, ``measured`` in trainings that take turns and ``predicted`` from the masks.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from joblib import Parallel, delayed
from transformers import PreTrainedModel

from coto_lab import Adapter, Evaluator, Run, Task, Variant, fit_many, load_task, merge
from coto_lab.adapters.methods.ia3 import IA3
from coto_lab.adapters.methods.lora import LoRA
from coto_lab.adapters.names import PREFIX, lora_keys
from coto_lab.adapters.whole_update import lora_of_update
from coto_lab.ground.files import new_folder, read_json, sha256, write_file
from coto_lab.ground.versions import version_of
from coto_lab.probes.cost import measure_cost, steady_saving, train_in_turns
from coto_lab.probes.gradients import gradient_balance
from coto_lab.scoring.sites import Sites
from coto_lab.studies.gallery import in_half
from coto_lab.studies.variants import (
    COTO,
    ENTRIES,
    FOLDER,
    KEPT_SEED,
    PLAIN,
    RATES,
    SEEDS,
    SWEEP_SEEDS,
    TABLE,
    TASKS,
    WAYS,
    best_rate,
    next_rate,
    recipe_of,
    run_name,
)
from coto_lab.training.history import History

_BINS = 20  # of the losses that are kept


def quick(adapter: Adapter, base: PreTrainedModel) -> Adapter:
    """The same function as a LoRA, many of which are scored together; IA3 scales biases too, and stays."""
    if isinstance(adapter.method, (LoRA, IA3)):
        return adapter
    return lora_of_update(adapter.update(base), adapter.base)


def sweep(task: Task, evaluator: Evaluator, leg: str, name: str, way: str) -> dict[float, list[float]]:
    """Rate -> test accuracy in %, first of the grid, then beyond its ends as long as the best is there."""
    scores: dict[float, list[float]] = {}
    wanted, base = list(RATES), task.load_base()
    while wanted:
        recipes = [recipe_of(leg, name, way, lr, seed) for lr in wanted for seed in SWEEP_SEEDS]
        runs = fit_many(task, recipes, n_jobs=1, progress=False)
        found = evaluator([Variant(quick(run.adapter, base)) for run in runs]).accuracy.tolist()
        for run, accuracy in zip(runs, found, strict=True):
            scores.setdefault(run.recipe.lr, []).append(round(100 * accuracy, 4))
        wanted = [lr for lr in [next_rate(scores)] if lr is not None and lr not in scores]
    return scores


def measure(leg: str, name: str, way: str, adapters: Path) -> dict[str, Any]:
    """All scores of a part; the adapter of one seed is written to ``adapters``."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="the loss of|method .* moves a part of the base")
    started = time.perf_counter()
    task = load_task(TASKS[leg])
    evaluator = Evaluator(task)
    swept = sweep(task, evaluator, leg, name, way)
    lr = best_rate(swept)
    print(f"{leg}, {name}, {way}: best rate {lr:g} of {swept} after {time.perf_counter() - started:.0f} s", flush=True)
    runs = fit_many(task, [recipe_of(leg, name, way, lr, seed) for seed in SEEDS], n_jobs=1, progress=False)
    base = task.load_base()
    own = [quick(run.adapter, base) for run in runs]
    sites = evaluator.sites(own[0])
    even = torch.tensor([sites.block_names.index(block) % 2 == 0 for block in sites.blocks])
    masks = (even, ~even)
    halves = [Variant(adapter, mask) for adapter in own for mask in masks]
    fused = [quick(merge(pair, "fuse"), base) for pair in combinations([run.adapter for run in runs], 2)]
    how = "ensemble" if isinstance(runs[0].adapter.method, LoRA) else "fuse"  # of `quick`, a fusion averages ΔW itself
    ensembles = [merge(pair, how) for pair in combinations(own, 2)]
    alone, kept, joined, averaged = (
        evaluator(variants)
        for variants in (
            [Variant(adapter) for adapter in own],
            halves,
            [Variant(adapter) for adapter in fused],
            [Variant(adapter) for adapter in ensembles],
        )
    )
    as_trained: dict[str, list[float]] = {}
    if runs[0].recipe.adapter_method.rewrites_base:
        nothing = torch.zeros_like(even)
        shut = [Variant(without_blocks(adapter, sites, mask)) for adapter in own for mask in masks]
        as_trained = {
            "pruned_as_trained": percent(evaluator(shut).accuracy.unflatten(0, (len(own), 2)).mean(1)),
            "none_as_trained": percent(evaluator([Variant(without_blocks(own[0], sites, nothing))]).accuracy),
        }
    keep(runs[KEPT_SEED], adapters / run_name(leg, name, way))
    print(f"{leg}, {name}, {way}: {percent(alone.accuracy)} after {time.perf_counter() - started:.0f} s", flush=True)
    return {
        "lr": lr,
        "sweep": {f"{rate:g}": swept[rate] for rate in sorted(swept)},
        "alone": percent(alone.accuracy),
        "loss": [round(value, 6) for value in alone.loss.tolist()],
        "pruned": percent(kept.accuracy.unflatten(0, (len(own), 2)).mean(1)),
        "fused": percent(joined.accuracy),
        "ensemble": percent(averaged.accuracy),
        **as_trained,
        "steps": [len(run.history) for run in runs],
        "seconds": [round(run.history.seconds.mean().item(), 6) for run in runs],
        "losses": [losses(run.history) for run in runs],
        "gradient": [[round(share, 4) for share in gradient_balance(run.history).overall.tolist()] for run in runs],
    }


def without_blocks(adapter: Adapter, sites: Sites, mask: torch.Tensor) -> Adapter:
    """The adapter of a start that rewrites the base, where the modules that are False compute what they do when dropped.

    Of its 2r ranks the first r were trained, and the last r take the start out of the base.
    """
    tensors = dict(adapter.tensors)
    for name, is_open in zip(sites.names, mask.tolist(), strict=True):
        if not is_open:
            key = lora_keys(PREFIX + name)[0]
            trained = torch.arange(len(tensors[key])) < len(tensors[key]) // 2
            tensors[key] = tensors[key].masked_fill(trained[:, None], 0.0)
    return replace(adapter, tensors=tensors)


def cost(leg: str, name: str, steps: int = 100) -> dict[str, Any]:
    """Parameters, and the time of a method beside LoRA, in trainings with the whole ramp that take turns."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="method .* moves a part of the base")
    task = load_task(TASKS[leg])
    lr = 1e-4  # small: the time is the same, and no method's loss grows
    recipes = {way: replace(recipe_of(leg, name, way, lr, 0), steps=steps) for way in WAYS}
    lora = replace(recipe_of(leg, "LoRA", PLAIN, lr, 0), steps=steps)
    histories = train_in_turns(task, {"LoRA": lora, **recipes})
    model = recipes[PLAIN].put_on(task.load_base(), task.target_modules)
    predicted = measure_cost(task, recipes[PLAIN], steps=66).saving(histories[COTO].mask)
    print(f"{leg}, {name}: cost measured", flush=True)
    return {
        "parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "step": round((histories[PLAIN].seconds / histories["LoRA"].seconds).quantile(0.5).item(), 3),
        "measured": round(steady_saving(histories[COTO], histories[PLAIN]), 4),
        "predicted": round(predicted, 4),
    }


def percent(accuracy: torch.Tensor) -> list[float]:
    return [round(100 * value, 4) for value in accuracy.tolist()]


def losses(history: History) -> list[float]:
    return [round(part.mean().item(), 4) for part in history.loss.tensor_split(_BINS) if len(part)]


def keep(run: Run, folder: Path) -> None:
    """Write the adapter of a run in half precision."""
    with new_folder(folder, overwrite=True) as fresh:  # of a part that was interrupted
        in_half(run.adapter).save(fresh)


def make_part(path: Path, make: Callable[..., dict[str, Any]], *arguments: Any) -> None:
    if not path.exists():
        content = json.dumps(make(*arguments), separators=(",", ":")) + "\n"
        write_file(path, lambda place: place.write_text(content))


def join(folder: Path) -> dict[str, Any]:
    """The content of the table, from all parts."""
    legs = {}
    for leg, task in TASKS.items():
        runs = {name: {way: read_json(part_path(folder, leg, name, way)) for way in WAYS} for name in ENTRIES}
        costs = {name: read_json(part_path(folder, leg, name, "cost")) for name in ENTRIES}
        kept = sorted((folder / FOLDER / leg).glob("*/*"))
        hashes = {str(path.relative_to(folder)): sha256(path) for path in kept}
        legs[leg] = {"task": task, "base": load_task(task).base, "runs": runs, "cost": costs, "sha256": hashes}
    versions = {name: version_of(name) for name in ("coto_lab", "torch", "transformers", "peft")}
    return {"format": 1, "versions": versions, "legs": legs}


def part_path(folder: Path, leg: str, name: str, what: str) -> Path:
    return folder / f"{run_name(leg, name, what).replace('/', '-')}.json"


def main() -> None:
    root = Path(__file__).parent
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", type=Path, default=root.parent / "runs" / FOLDER, help="folder of the parts")
    parser.add_argument("--out", type=Path, default=root / "gallery", help="where the table and the adapters go")
    parser.add_argument("--jobs", type=int, default=2, help="parts that are made side by side")
    arguments = parser.parse_args()
    folder: Path = arguments.parts
    folder.mkdir(parents=True, exist_ok=True)
    Parallel(n_jobs=arguments.jobs)(
        delayed(make_part)(part_path(folder, leg, name, way), measure, leg, name, way, folder)
        for leg in TASKS
        for name in ENTRIES
        for way in WAYS
    )
    Parallel(n_jobs=arguments.jobs)(
        delayed(make_part)(part_path(folder, leg, name, "cost"), cost, leg, name) for leg in TASKS for name in ENTRIES
    )
    content = json.dumps(join(folder), separators=(",", ":")) + "\n"
    for path in sorted((folder / FOLDER).glob("*/*")):
        with new_folder(arguments.out / path.relative_to(folder), overwrite=True) as fresh:
            shutil.copytree(path, fresh, dirs_exist_ok=True)
    write_file(arguments.out / TABLE, lambda place: place.write_text(content))


if __name__ == "__main__":
    main()
