"""Train content and style adapters, merge them, and score samples: ``python data/make_glyph_diffusion_runs.py``.

What is planned is in `coto_lab.studies.glyph_diffusion`. What is in ``--parts`` already is not made again.
``data/gallery/diffusion.json`` has ``base``; ``lr`` of each method; ``sweep``: method -> rate -> test losses of content and
style; ``loss``: part -> the test loss of five seeds of each method, and of the ``base``; ``scores``: who -> what -> method ->
for each seed the share in % of samples with the right ``content``, the right ``style``, and ``both``; ``moved``: how far the
coefficients of ``zip`` moved; ``seconds`` of merging. Who is ``new``, the six characters that only the content adapter has
seen, or ``known``, the thirty others. What is ``content``, ``style``, or a rule, and ``base`` without method and seeds. The
adapters of one seed, and what ``zip`` made of them, are beside the table, in half precision, with the images of a sheet.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from coto_lab import Adapter, Evaluator, Task, Variant, fit_many
from coto_lab.ground.files import new_folder, read_json, sha256, write_file
from coto_lab.ground.versions import version_of
from coto_lab.merging.fit_merge import fit_merge
from coto_lab.merging.merge import merge
from coto_lab.merging.zip import Zip
from coto_lab.probes.face_classifier import load_face_classifier
from coto_lab.probes.glyph_sampling import sample_glyphs, score_samples
from coto_lab.studies.gallery import in_half, load_half
from coto_lab.studies.glyph_diffusion import (
    EACH,
    FOLDER,
    PARTS,
    RULES,
    SAMPLE_SEED,
    SAMPLES,
    SEEDS,
    STORED_SEED,
    SWEEP_SEED,
    TABLE,
    WAYS,
    adapter_name,
    in_shades,
    recipe_of,
    sampled_rows,
)
from coto_lab.studies.variants import RATES, best_rate, next_rate
from coto_lab.tasks.diffuser import load_diffuser, load_noise_schedule
from coto_lab.tasks.glyph_diffusion import KNOWN_CHARACTERS, NEW_CHARACTERS, load_content_task, load_style_task

GALLERY = Path(__file__).parent / "gallery"
TASKS: dict[str, Task] = {"content": load_content_task(), "style": load_style_task()}
KNOWN_EACH = 1  # samples of each known character


def made(path: Path, make: Callable[[], Any]) -> Any:
    """What a part holds; it is made first if it is not there."""
    if not path.exists():
        content = json.dumps(make())
        write_file(path, lambda place: place.write_text(content))
        print(f"{path.stem}: {content}", flush=True)
    return read_json(path)


def tried(plan: list[tuple[str, float]]) -> list[list[float]]:
    """The test losses of content and style, for each method and rate."""
    columns = []
    for task in TASKS.values():
        runs = fit_many(task, [recipe_of(way, lr, SWEEP_SEED) for way, lr in plan], progress=False)
        columns.append(Evaluator(task)([Variant(run.adapter) for run in runs]).loss.tolist())
    return [[round(loss, 5) for loss in losses] for losses in zip(*columns, strict=True)]


def sweep() -> dict[str, dict[str, list[float]]]:
    """Method -> rate -> test losses of content and style; it goes on while the lowest mean is at an end of the grid."""
    found: dict[str, dict[float, list[float]]] = {way: {} for way in WAYS}
    plan = [(way, lr) for way in WAYS for lr in RATES]
    while plan:
        for (way, lr), losses in zip(plan, tried(plan), strict=True):
            found[way][lr] = losses
        further = {way: next_rate(minus(found[way])) for way in WAYS}
        plan = [(way, lr) for way, lr in further.items() if lr is not None]
    return {way: {f"{lr:g}": losses for lr, losses in sorted(own.items())} for way, own in found.items()}


def minus(losses: dict[float, list[float]]) -> dict[float, list[float]]:
    """Higher is better."""
    return {lr: [-loss for loss in own] for lr, own in losses.items()}


def adapters_of(part: str, rates: dict[str, float], parts: Path) -> dict[tuple[str, int], Adapter]:
    """Five seeds of LoRA and of CoTo, as rows of one training."""
    plan = [(way, seed) for way in WAYS for seed in SEEDS]
    folders = {(way, seed): parts / f"{part}-{way.lower()}-seed{seed}" for way, seed in plan}
    if not all(folder.exists() for folder in folders.values()):
        runs = fit_many(TASKS[part], [recipe_of(way, rates[way], seed) for way, seed in plan], progress=False)
        for key, run in zip(plan, runs, strict=True):
            if run.diverged:
                raise ValueError(f"{part}, {key}: diverged at a rate of {run.recipe.lr}: add a lower one to RATES.")
            with new_folder(folders[key], overwrite=True) as folder:
                in_half(run.adapter).write_files(folder)
        print(f"trained: {part}", flush=True)
    return {key: load_half(folder, TASKS[part].base) for key, folder in folders.items()}


def scores_of(adapter: Adapter | None) -> dict[str, dict[str, float]]:
    """Who -> the shares in % of samples with the right content, style and both; None for the base."""
    model = load_diffuser() if adapter is None else adapter.attach(load_diffuser())
    schedule, face, found = load_noise_schedule(), load_face_classifier(), {}
    for who, characters, each in (("new", NEW_CHARACTERS, EACH), ("known", KNOWN_CHARACTERS, KNOWN_EACH)):
        images = sample_glyphs(model, schedule, characters, each=each, seed=SAMPLE_SEED)
        scores = score_samples(images, characters, face)
        found[who] = {name: round(100 * share, 4) for name, share in vars(scores).items()}
    return found


def measure(pair: list[Adapter], keep: Path | None) -> dict[str, Any]:
    """What two adapters of one seed do alone and merged: what -> scores; how long each merge took; how far ``zip`` moved.

    What ``zip`` learned is kept in a folder, if there is one.
    """
    found: dict[str, Any] = {part: scores_of(adapter) for part, adapter in zip(PARTS, pair, strict=True)}
    seconds = {}
    for name, how in RULES.items():
        started = time.perf_counter()
        if isinstance(how, Zip):
            learned = fit_merge(list(TASKS.values()), pair, how, progress=False)
            adapter, found["moved"] = learned.adapter, round(learned.moved, 4)
            if keep is not None:
                with new_folder(keep, overwrite=True) as folder:
                    in_half(adapter).write_files(folder)
        else:
            adapter = merge(pair, how)
        seconds[name] = round(time.perf_counter() - started, 2)
        found[name] = scores_of(adapter)
    return found | {"seconds": seconds}


def losses(part: str, adapters: dict[tuple[str, int], Adapter]) -> dict[str, Any]:
    """``base``, and for each method the test loss of five seeds."""
    evaluator, some = Evaluator(TASKS[part]), next(iter(adapters.values()))
    shut = torch.zeros(len(evaluator.sites(some)), dtype=torch.bool)
    found = evaluator([Variant(some, shut), *map(Variant, adapters.values())]).loss.tolist()
    own = dict(zip(adapters, found[1:], strict=True))
    return {"base": round(found[0], 5)} | {way: [round(own[way, seed], 5) for seed in SEEDS] for way in WAYS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", type=Path, default=Path("runs/diffusion"), help="where results are kept until all are there")
    parts: Path = parser.parse_args().parts
    parts.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    swept = made(parts / "sweep.json", sweep)
    rates = {way: best_rate(minus({float(lr): losses for lr, losses in swept[way].items()})) for way in WAYS}
    print(f"rates: {rates}", flush=True)
    adapters = {part: adapters_of(part, rates, parts) for part in PARTS}
    loss = {part: made(parts / f"loss-{part}.json", lambda part=part: losses(part, adapters[part])) for part in PARTS}
    base = made(parts / "base.json", lambda: scores_of(None))
    found = {
        (way, seed): made(
            parts / f"scores-{way}-{seed}.json",
            lambda way=way, seed=seed: measure(
                [adapters[part][way, seed] for part in PARTS], parts / f"zip-{way.lower()}" if seed == STORED_SEED else None
            ),
        )
        for seed in SEEDS
        for way in WAYS
    }
    whats = (*PARTS, *RULES)
    scores: dict[str, Any] = {
        who: {"base": base[who]}
        | {
            what: {
                way: {name: [found[way, seed][what][who][name] for seed in SEEDS] for name in ("content", "style", "both")}
                for way in WAYS
            }
            for what in whats
        }
        for who in ("new", "known")
    }
    hashes = {}
    for part in (*PARTS, "zip"):
        for way in WAYS:
            name = adapter_name(part, way)
            own = parts / (f"zip-{way.lower()}" if part == "zip" else f"{part}-{way.lower()}-seed{STORED_SEED}")
            shutil.copytree(own, GALLERY / name, dirs_exist_ok=True)
            hashes[name] = {file.name: sha256(file) for file in sorted((GALLERY / name).iterdir())}
    content = {
        "base": TASKS["content"].base,
        "lr": rates,
        "sweep": swept,
        "loss": loss,
        "scores": scores,
        "moved": {way: [found[way, seed]["moved"] for seed in SEEDS] for way in WAYS},
        "seconds": {way: [found[way, seed]["seconds"] for seed in SEEDS] for way in WAYS},
        "sha256": hashes,
        "versions": {name: version_of(name) for name in ("torch", "diffusers", "peft")},
    }
    write_table(content)
    rows = {f"{way}/{name}": in_shades(images) for way in WAYS for name, images in sampled_rows(way).items()}
    write_file(GALLERY / FOLDER / SAMPLES, lambda path: save_file(rows, path))
    content["sha256"][FOLDER] = {SAMPLES: sha256(GALLERY / FOLDER / SAMPLES)}
    write_table(content)
    print(json.dumps(scores["new"], indent=1))


def write_table(content: dict[str, Any]) -> None:
    write_file(GALLERY / TABLE, lambda path: path.write_text(json.dumps(content, indent=1) + "\n"))


if __name__ == "__main__":
    main()
