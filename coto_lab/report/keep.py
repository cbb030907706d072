"""The best share of an adapter's blocks: chosen on one half of the examples, scored on the other, and what it costs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from coto_lab.adapters.adapter import Adapter
from coto_lab.adapters.peft_model import twin
from coto_lab.ground.files import new_folder
from coto_lab.ground.numbers import real_number
from coto_lab.report.game import best_blocks
from coto_lab.report.measures import Measuring
from coto_lab.report.places import check_new_folder
from coto_lab.report.remembering import Remembering
from coto_lab.report.smaller import file_size, keep_modules
from coto_lab.scoring.scores import Scores
from coto_lab.scoring.variant import Variant
from coto_lab.tasks.task import Task, to_device

_BATCH = 32
_ROUNDS, _SECONDS = (5, 30), 5.0  # turns of a timing: fewest, most, and about how long all of them take
_FEWEST = 4  # examples; of one in a half there would be no standard error
_SAME = 1e-3  # nats between the loss of the pruned adapter and that with closed gates; rounding is far below


@dataclass(frozen=True, eq=False)
class Kept:
    """The blocks that were kept, and what that costs.

    Attributes:
        name: of the adapter.
        pruned: the smaller adapter.
        mask: which of the n blocks are kept, ``BoolTensor [n]``.
        blocks: names of all blocks.
        compared: how many choices of blocks were compared.
        every: whether these were all choices of so many blocks.
        searched: on how many examples.
        search_scores: on these examples, of two variants: ``"adapter"`` and ``"pruned"``.
        scores: on as many examples as were not searched on, of three: ``"base"``, ``"adapter"`` and ``"pruned"``.
        bytes: of the file before and after.
        milliseconds: per batch, median, of the base model, the adapter and the pruned one: float64 ``[3]``.
        batch_size: examples in that batch.
        folder: where the pruned adapter was saved; None if it was not.
    """

    name: str
    pruned: Adapter
    mask: Bool[Tensor, " n"]
    blocks: tuple[str, ...]
    compared: int
    every: bool
    searched: int
    search_scores: Scores
    scores: Scores
    bytes: tuple[int, int]
    milliseconds: Float[Tensor, " 3"]
    batch_size: int
    folder: Path | None = None


def check_keep(keep: float) -> float:
    """``keep`` as a float; ValueError unless it is a share in (0, 1]."""
    if not 0 < real_number("keep", keep) <= 1:
        raise ValueError(f"keep={keep!r}: must be the share of the blocks to keep, above 0 and at most 1, such as 0.5.")
    return float(keep)


def check_can_keep(adapter: Adapter, examples: int) -> None:
    """ValueError if the adapter cannot be cut into modules, or so few test examples cannot be split into two halves."""
    if examples < _FEWEST:
        raise ValueError(
            f"keep: {examples} test example{'s' if examples > 1 else ''} cannot be split into two halves, of which one chooses "
            f"the blocks and the other scores the choice. Give at least {_FEWEST}."
        )
    keep_modules(adapter, adapter.modules)


def keep_best(measuring: Measuring, keep: float, save: Path | None = None) -> Kept:
    """Find the blocks with which the adapter has the lowest loss, cut the others out, and measure the difference.

    With up to 12 blocks of which all coalitions were scored, all choices are compared; otherwise one block after another is
    left out. The examples at even places decide which blocks are kept, and the scores are over those at odd places.

    Args:
        measuring: of the adapter, on at least four test examples.
        keep: share of the blocks, in (0, 1]; at least one block is kept.
        save: a new folder for the pruned adapter.

    Raises:
        ValueError: ``keep`` is out of range; fewer than four test examples; the adapter cannot be cut into modules.
        FileExistsError: there is something at ``save``.
    """
    share, task, subject, plan = check_keep(keep), measuring.task, measuring.subject, measuring.plan
    if save is not None:
        check_new_folder(save)
    check_can_keep(subject.adapter, task.size("test"))
    blocks, step = measuring.sites.block_names, plan.steps["blocks"]
    count = max(1, round(share * len(blocks)))
    few, whole = measuring.scorer(step), measuring.scorer(1)
    half = slice(None, None, 2) if step == 1 else slice(None)  # every 2nd, 4th ... example is at an even place already
    mask, compared = best_blocks(few, len(blocks), count, half, plan.exact)
    owners = zip(measuring.sites.names, measuring.sites.blocks, strict=True)
    kept = [name for name, block in owners if mask[blocks.index(block)]]
    pruned = keep_modules(subject.adapter, kept)

    def gated(score: Remembering) -> Variant:
        return Variant(score.adapter, mask, "pruned")

    cut = Remembering(task, pruned, like=whole)([Variant(pruned, name="pruned")])
    closed = whole([*measuring.ends(), gated(whole)])
    difference = (cut.values["loss"][0] - closed.values["loss"][2]).abs().max().item()
    if not difference < _SAME:
        raise ValueError(
            f"the pruned adapter does not compute what the adapter {subject.name!r} does with the gates of the other blocks "
            f"closed: the losses differ by up to {difference:.3g}. Its method cannot be cut into blocks."
        )
    models = {"base": None, "adapter": subject.adapter, "pruned": pruned}
    milliseconds, batch_size = batch_times(task, whole, models)
    if save is not None:
        with new_folder(save) as folder:
            pruned.write_files(folder)
    others = slice(1, None, 2)
    search = few([Variant(few.adapter, None, "adapter"), gated(few)])
    return Kept(
        name=subject.name,
        pruned=pruned,
        mask=mask,
        blocks=blocks,
        compared=compared,
        every=plan.exact,
        searched=search.values["loss"][:, half].shape[1],
        search_scores=_at(search, half),
        scores=_at(Scores.join([closed.take(torch.arange(2)), cut]), others),
        bytes=(file_size(subject.adapter), file_size(pruned)),
        milliseconds=milliseconds,
        batch_size=batch_size,
        folder=save,
    )


def batch_times(
    task: Task, score: Remembering, adapters: Mapping[str, Adapter | None]
) -> tuple[Float[Tensor, " {len(adapters)}"], int]:
    """Median milliseconds of a forward pass of PEFT's own models, and the examples in it; the models take turns.

    Args:
        task: has the examples.
        score: has the base model.
        adapters: name -> adapter; None is the base model itself.
    """
    size = min(_BATCH, task.size("test"))
    batch = to_device(task.batch("test", range(size)), score.device)
    models = [_peft_model(score, adapter) for adapter in adapters.values()]
    times: list[list[float]] = []
    with torch.inference_mode():
        began = time.perf_counter()
        for _ in range(_ROUNDS[1] + 1):
            if len(times) > _ROUNDS[0] and time.perf_counter() - began > _SECONDS:
                break
            times.append([_timed(task, model, batch) for model in models])
    return 1000 * torch.tensor(times[1:], dtype=torch.float64).quantile(0.5, dim=0), size


def _peft_model(score: Remembering, adapter: Adapter | None) -> torch.nn.Module:
    base = twin(score.base)
    return base.eval() if adapter is None else adapter.attach(base)


def _timed(task: Task, model: torch.nn.Module, batch: dict[str, Tensor]) -> float:
    started = time.perf_counter()
    task.predict(model, batch)
    if next(iter(batch.values())).device.type != "cpu":
        torch.accelerator.synchronize()
    return time.perf_counter() - started


def _at(scores: Scores, places: slice) -> Scores:
    return Scores(scores.names, {name: values[:, places] for name, values in scores.values.items()})
