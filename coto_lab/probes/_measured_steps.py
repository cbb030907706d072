"""What training steps cost, measured on a rehearsal: seconds for some masks, and bytes at the peak."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float64
from torch import Tensor, nn

from coto_lab.gating.checkpointing import is_checkpointed, let_backward_stop
from coto_lab.gating.schedules import Constant
from coto_lab.ground.randomness import batch_indices
from coto_lab.probes._rehearsal import Rehearsal
from coto_lab.probes.cost import GivenMasks, designed_masks, timed_step, towers_apart, work_of
from coto_lab.probes.live_memory import peak_bytes
from coto_lab.tasks.task import Task
from coto_lab.training.loop import Training
from coto_lab.training.recipe import Recipe

_SAMPLED = 12  # batches whose sizes are looked at
_TIMED = 3  # batches that are timed where sizes differ


@dataclass(frozen=True, eq=False)
class MeasuredSteps:
    """Steps of models with several numbers of blocks.

    Attributes:
        work: one row per kind of step, float64 ``[M, 4]``: 1, the blocks of the model, those that backward reaches, and those
            that are open.
        seconds: of each kind, float64 ``[M]``: for each batch the median, and of the batches the mean.
        blocks: of each model.
        activations: bytes at the peak of a step of each model with every block open, without and with checkpointing; None
            where the model cannot checkpoint.
        moments: bytes that the optimiser keeps, per byte of a trainable parameter.
        steps: how many steps were timed.
    """

    work: Float64[Tensor, "M 4"]
    seconds: Float64[Tensor, " M"]
    blocks: tuple[int, ...]
    activations: tuple[list[int], list[int] | None]
    moments: float
    steps: int


def measure_steps(
    task: Task, recipe: Recipe, blocks: Sequence[int | None], seconds: float, *, progress: bool = False
) -> MeasuredSteps:
    """Take real steps at a rate that moves nothing, in turns, for about so many ``seconds``, and two rounds at least.

    Args:
        task: what is trained.
        recipe: how; its schedule does not matter.
        blocks: how many blocks each rehearsed model has; None for all.
        seconds: how long to measure.
        progress: whether to show a bar.
    """
    from tqdm.auto import tqdm

    batches, largest = typical_batches(task, recipe)
    recipe = replace(recipe, schedule=Constant(), lr=1e-12, decay="constant", dropout_decay="constant", warmup_steps=0, steps=1)
    rehearsals = [Rehearsal(task, 1, blocks=number) for number in blocks]
    trainings = [Training(rehearsal, recipe) for rehearsal in rehearsals]
    masks = [designed_masks(len(training.gates), levels=3) for training in trainings]
    peaks = [_peaks(training, rehearsal, largest) for training, rehearsal in zip(trainings, rehearsals, strict=True)]
    for training, own in zip(trainings, masks, strict=True):
        training.coto = GivenMasks(training.gates, own)
        training.records.clear()  # the first mask comes next
    rounds: list[list[list[float]]] = []  # [rounds, batches, kinds of step]
    started = time.perf_counter()
    with tqdm(total=round(seconds), disable=not progress, unit="s", desc="measuring steps") as bar:
        while len(rounds) < 2 or time.perf_counter() - started < seconds:
            rounds.append([])
            for places in batches:
                rounds[-1].append([])
                for training, rehearsal, own in zip(trainings, rehearsals, masks, strict=True):
                    rehearsal.places[:] = [places]
                    rounds[-1][-1] += [timed_step(training) for _ in own]
            bar.update(min(round(time.perf_counter() - started), bar.total) - bar.n)
    taken = torch.tensor(rounds, dtype=torch.float64)[1:]  # the first round warms up
    return MeasuredSteps(
        work=torch.cat([_work_of(own, towers_apart(t.model, t.gates.towers)) for t, own in zip(trainings, masks, strict=True)]),
        seconds=taken.quantile(0.5, dim=0).mean(0),
        blocks=tuple(len(training.gates) for training in trainings),
        activations=([plain for plain, _ in peaks], _all_or_none([checkpointed for _, checkpointed in peaks])),
        moments=_moments(trainings[0]),
        steps=taken.numel(),
    )


def typical_batches(task: Task, recipe: Recipe) -> tuple[list[Tensor], Tensor]:
    """Batches of a training by their size: three that are typical of it, and the largest.

    Twelve batches, evenly spread over the training, are put in order of their sizes; the three are the middles of the lower,
    the middle and the upper third. Where all twelve have one size, one batch is enough.

    Returns:
        The places of the training examples of each typical batch, ``[batch_size]``, and those of the largest batch.
    """
    n = task.size("train")
    steps = torch.linspace(0, recipe.steps - 1, min(_SAMPLED, recipe.steps)).round().long().unique().tolist()
    drawn = [batch_indices(n, recipe.batch_size, recipe.seed, step) for step in steps]
    sizes = [sum(column.numel() for column in task.batch("train", places).values()) for places in drawn]
    in_order = [drawn[i] for i in sorted(range(len(drawn)), key=sizes.__getitem__)]
    middles = [int(len(drawn) / _TIMED * (third + 0.5)) for third in range(_TIMED)]
    one = min(sizes) == max(sizes) or len(drawn) < _TIMED
    return (in_order[-1:] if one else [in_order[i] for i in middles]), in_order[-1]


def _work_of(masks: Tensor, towers: Tensor | None) -> Tensor:
    work = work_of(masks, towers)
    return torch.cat([work[:, :1], torch.full((len(masks), 1), masks.shape[1]), work[:, 1:]], 1)


def _peaks(training: Training, rehearsal: Rehearsal, places: Tensor) -> tuple[int, int | None]:
    """Bytes at the peak of a step on a batch, without and with checkpointing; afterwards the model is as before."""
    base = training.model.get_base_model()  # type: ignore[operator]
    own = is_checkpointed(base)
    rehearsal.places[:] = [places]
    found: dict[bool, int | None] = {False: None, True: None}
    for checkpointing in (not own, own):
        if checkpointing and not getattr(base, "supports_gradient_checkpointing", False):
            continue
        _switch_checkpointing(base, checkpointing)
        training.step()  # the optimiser makes its moments, and kernels are chosen
        found[checkpointing] = peak_bytes(training.step)
    plain = found[False]
    assert plain is not None
    return plain, found[True]


def _switch_checkpointing(base: nn.Module, on: bool) -> None:
    if is_checkpointed(base) == on:
        return
    with warnings.catch_warnings():  # transformers renames the method; the package goes down to versions with the old name
        warnings.filterwarnings("ignore", message=".*gradient_checkpointing", category=FutureWarning)
        if on:
            base.gradient_checkpointing_enable({"use_reentrant": False})  # type: ignore[operator]
            let_backward_stop(base)
        else:
            base.gradient_checkpointing_disable()  # type: ignore[operator]


def _moments(training: Training) -> float:
    kept = [value for state in training.optimizer.state.values() for value in state.values() if isinstance(value, Tensor)]
    trained = [p for group in training.optimizer.param_groups for p in group["params"]]
    return sum(tensor.nbytes for tensor in kept) / sum(parameter.nbytes for parameter in trained)


def _all_or_none(peaks: list[int | None]) -> list[int] | None:
    return [peak for peak in peaks if peak is not None] if None not in peaks else None
