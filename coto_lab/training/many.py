"""Many trainings at once: as rows of one batch on one frozen base where they can, and on as many workers as there are."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from coto_lab.gating.ranks import check_same, described
from coto_lab.ground.caller import warn_user
from coto_lab.ground.device import default_device
from coto_lab.ground.lists import list_of
from coto_lab.ground.numbers import whole_number
from coto_lab.tasks.check import check_task, fresh_base, try_task
from coto_lab.tasks.task import Task, modules_to_save_of
from coto_lab.training.dropped import warn_of_dropped_blocks, without_word_of_start
from coto_lab.training.jobs import LostWorker, done_by_workers, in_threads, workers
from coto_lab.training.loop import Training
from coto_lab.training.one_adapter import check_shares
from coto_lab.training.recipe import Recipe
from coto_lab.training.rows import fit_together, may_share, rows_are_apart
from coto_lab.training.run import Run
from coto_lab.training.run_folder import RunFolder

if TYPE_CHECKING:
    from accelerate import PartialState

Work = Callable[..., list[Run]]
_PATIENCE = timedelta(days=1)  # of a process that has trained its groups
_TRIES = 3  # without a finished run: then it is not a machine that fails, but a run that no worker survives


def fit_many(
    task: Task,
    recipes: Sequence[Recipe],
    *,
    max_rows: int = 10,
    n_jobs: int | None = None,
    folder: str | Path | None = None,
    progress: bool = True,
) -> list[Run]:
    """Train one adapter per recipe; each run is the one that `fit` makes, up to rounding.

    Recipes without adapter dropout whose updates are s·BA (LoRA, rsLoRA, LoRA+, PiSSA, OLoRA, LoRA-Pro) and that agree in
    method, rank, alpha, steps and batch size share one base: their batches go through it as one, and each meets its own adapter
    (`LoRALinear` with rows). Schedule, tilt, seed, learning rate, warm-up, decay, clipping and weight decay may differ. An
    adapter that a row drops gets no update, no decay and no change of moments, as in `fit`. All other recipes are trained by
    themselves, and so are all recipes where the task has new layers that train whole (``modules_to_save``).

    By default, the groups that share a base are trained in this process, one after the other, and the other recipes in
    processes side by side. With ``n_jobs`` above 1, or within ``joblib.parallel_config(backend="dask")`` or ``"ray"``, all of
    them are jobs for that many processes, or for the workers of the cluster; groups are then so large that all workers have
    work. Under ``accelerate launch`` the processes share the groups, train all others together as `fit` does, and all get all
    runs.

    Rounding: in float64 the two agree to 1e-9. In float32, after 800 steps on the digits, the weights of ten runs (five seeds
    of LoRA and of CoTo) differed from those of `fit` by at most 7e-6 of their length, and the losses by at most 4e-6 nats.

    A run whose loss is no longer finite ends there: it is named in a warning, and the others train on. It is returned as it
    was before that step, with ``diverged=True``.

    Args:
        task: base model and data.
        recipes: at least one.
        max_rows: how many share the base at most.
        n_jobs: how many processes train side by side; None means all workers of a cluster. Without a cluster, None means that
            recipes that cannot share a base have one process per CPU core, or 1 where there is an accelerator.
        folder: where finished runs are kept (`RunFolder`). Runs that are there are not trained again, so that an interrupted
            sweep goes on; each is saved by the worker that trained it, and what a lost worker had under way is trained again.
            The workers of a cluster must see this folder, too.
        progress: show a bar.

    Raises:
        TypeError: ``task`` lacks a part of the protocol; ``recipes`` is no list of Recipes.
        ValueError: no recipes; ``max_rows`` or ``n_jobs`` below 1; a run in ``folder`` is damaged; what `fit` raises;
            processes of ``accelerate launch`` that were given other recipes.
        OSError: ``folder`` holds something else than runs, or cannot be written to, or a worker does not see it.
        RuntimeError: a worker has other versions of the packages than this process, or lacks one; a worker was lost
            (`LostWorker`), while there is no ``folder`` or three times before any run was finished.
    """
    from tqdm.auto import tqdm

    check_task(task)
    recipes = list_of("recipes", recipes, Recipe, "give a list of Recipes, such as [Recipe(), Recipe(seed=1)].")
    max_rows = whole_number("max_rows", max_rows, 1)
    n_jobs = None if n_jobs is None else whole_number("n_jobs", n_jobs, 1)
    store = None if folder is None else RunFolder(folder, task)
    warn_of_dropped_blocks(recipes)
    quiet = not (_ranks().is_main_process and progress)
    check_same(task=task.name, base=task.base, max_rows=max_rows, folder=str(folder), **_described(recipes))
    with tqdm(total=sum(recipe.steps for recipe in recipes), disable=quiet, unit="step") as bar:
        if store is None:
            runs = _trained(task, recipes, max_rows, n_jobs, None, bar.update)
        else:
            # Those that are there are read first, so that a damaged one is found before hours of training.
            found = {i: store.load(recipe) for i, recipe in enumerate(recipes) if store.has(recipe)}
            _train_missing(task, recipes, max_rows, n_jobs, store, bar)
            runs = [found.get(i) or store.load(recipe) for i, recipe in enumerate(recipes)]
    for run in runs:
        if run.diverged:
            warn_user(
                f"the loss of {run.recipe} is not finite at step {len(run.history)}: this run ends there. Try a learning rate "
                f"below lr={run.recipe.lr}."
            )
    return runs


def _train_missing(
    task: Task, recipes: Sequence[Recipe], max_rows: int, n_jobs: int | None, store: RunFolder, bar: Any
) -> None:
    """Have the runs trained that are not in the folder, until they are."""
    from accelerate.utils import gather_object

    def missing() -> list[Recipe]:
        return gather_object([store.missing(recipes)])[0]  # all processes go by the first: others may have saved a run since

    left, tries = missing(), 0
    while left:
        bar.n = bar.total - sum(recipe.steps for recipe in left)  # of recipes that are given twice, too
        lost = None
        try:
            _trained(task, left, max_rows, n_jobs, store, bar.update)
        except LostWorker as error:
            lost = error
        before, left = left, missing()
        if left and lost is None:
            raise FileNotFoundError(
                f"folder={str(store.path)!r}: {len(left)} runs were trained, but they are not there. Give a folder that all "
                "machines share."
            )
        tries = tries + 1 if len(left) == len(before) else 0
        if left and lost is not None:
            if tries == _TRIES:
                raise lost
            warn_user(f"a worker was lost ({lost}). {len(left)} of {len(recipes)} runs are not finished, and are trained now.")
    bar.update(bar.total - bar.n)


def _trained(
    task: Task,
    recipes: Sequence[Recipe],
    max_rows: int,
    n_jobs: int | None,
    store: RunFolder | None,
    advance: Callable[[int], object],
) -> list[Run]:
    """The runs of all recipes; with a ``store`` they are there instead, and none is returned."""
    n_workers, ranks = workers(n_jobs), _ranks()
    shares = ranks.num_processes if ranks.num_processes > 1 else n_workers
    groups = _groups(recipes, 1 if modules_to_save_of(task) else _rows(len(recipes), shares, max_rows))
    base = fresh_base(task) if any(len(group) > 1 for group in groups) else None
    together: list[list[int]] = []
    if base is not None:
        try_task(task, base.to(default_device()), "train")
        together = [group for group in groups if len(group) > 1 and rows_are_apart(task, recipes[group[0]], base)]
    places = together + [[i] for group in groups if group not in together for i in group]
    jobs = [[recipes[i] for i in group] for group in places]
    for recipe in (group[0] for group in jobs if len(group) == 1):
        check_shares(recipe, ranks.num_processes)  # all processes will share its batches, after they have trained the groups
    work = partial(_train, task, store)
    if ranks.num_processes > 1:
        done = _done_by_ranks(work, jobs, ranks)
    elif n_workers:
        done = done_by_workers(work, jobs, n_workers)
    else:
        done = _done_here(work, jobs, base, n_jobs, advance)
    runs: dict[int, Run] = {}
    for job, own in done:
        runs |= zip(places[job], own, strict=store is None)
        if shares:
            advance(sum(recipe.steps for recipe in jobs[job]))
    return [runs[i] for i in sorted(runs)]


def _described(recipes: Sequence[Recipe]) -> dict[str, str]:
    """Each recipe by its place, for a comparison with those of other processes."""
    fields = [{name: value for name, value in vars(recipe).items() if name != "schedule"} for recipe in recipes]
    own = {f"recipes[{i}]": f"{fields[i]} with {described(recipe.schedule)}" for i, recipe in enumerate(recipes)}
    return {"number of recipes": str(len(recipes)), **own}


def _ranks() -> PartialState:
    """The processes of ``accelerate launch``, set up as accelerate's ``Accelerator`` does.

    A process that has trained its groups waits for those that still train, which may take long. One that has ended is noticed
    at once all the same.
    """
    from accelerate import PartialState
    from accelerate.utils import parse_flag_from_env

    return PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU"), timeout=_PATIENCE)


def _rows(n_recipes: int, shares: int | None, max_rows: int) -> int:
    """How many rows a group has at most, so that ``shares`` workers have as many groups each; None: it does not matter."""
    if not shares:
        return max_rows
    rounds = math.ceil(n_recipes / (shares * max_rows))
    return math.ceil(n_recipes / (shares * rounds))


def _groups(recipes: Sequence[Recipe], max_rows: int) -> list[list[int]]:
    """The places of the recipes that may share a base; each of the others is a group of its own."""
    alike: list[list[int]] = []
    for i, recipe in enumerate(recipes):
        company = next((members for members in alike if may_share(recipe, recipes[members[0]])), None)
        if company is None:
            alike.append([i])
        else:
            company.append(i)
    return [members[k : k + max_rows] for members in alike for k in range(0, len(members), max_rows)]


def _done_here(
    work: Work, jobs: Sequence[list[Recipe]], base: nn.Module | None, n_jobs: int | None, advance: Callable[[int], object]
) -> Iterator[tuple[int, list[Run]]]:
    """The groups one after the other; single recipes in processes."""
    from joblib import Parallel, delayed

    alone = [i for i, job in enumerate(jobs) if len(job) == 1]
    for i, job in enumerate(jobs):
        if len(job) > 1:
            yield i, work(job, base, advance)
    cores = (os.cpu_count() or 1) if default_device().type == "cpu" else 1
    n_jobs = 1 if in_threads() else max(1, min(n_jobs or cores, len(alone)))
    results = Parallel(n_jobs=n_jobs, return_as="generator")(delayed(work)(jobs[i]) for i in alone)
    for i, runs in zip(alone, results, strict=True):
        yield i, runs
        advance(jobs[i][0].steps)


def _done_by_ranks(work: Work, jobs: Sequence[list[Recipe]], ranks: PartialState) -> Iterator[tuple[int, list[Run]]]:
    """Each process of the process group trains its share of the groups; all together train the single recipes, as `fit` does.

    Source: accelerate's ``gather_object``.
    """
    from accelerate.utils import gather_object

    groups = [i for i, job in enumerate(jobs) if len(job) > 1]
    yield from gather_object([(i, work(jobs[i])) for i in groups[ranks.process_index :: ranks.num_processes]])
    for i, job in enumerate(jobs):
        if len(job) == 1:
            yield i, work(job)


def _train(
    task: Task,
    store: RunFolder | None,
    recipes: Sequence[Recipe],
    base: nn.Module | None = None,
    advance: Callable[[int], object] = lambda steps: None,
) -> list[Run]:
    """The runs of a group of recipes that share a base, or of a single one; with a ``store`` they are there instead."""
    if store is not None:
        if not store.path.is_dir():
            raise FileNotFoundError(
                f"folder={str(store.path)!r} is not there for this worker: give a folder that all machines share."
            )
        recipes = store.missing(recipes)  # others may be there by now: of a worker that was lost before it had saved all
    runs = []
    if len(recipes) > 1:
        runs = fit_together(task, recipes, base or fresh_base(task), advance)
    elif recipes:
        runs = [_fit_alone(task, recipes[0])]
    if store is None:
        return runs
    for run in runs:
        store.save(run)
    return []


def _fit_alone(task: Task, recipe: Recipe) -> Run:
    with without_word_of_start():  # `fit_many` said it, once
        training = Training(task, recipe)
    try:
        for _ in training:
            pass
    except FloatingPointError:
        pass  # the run says that it diverged
    return training.run()
