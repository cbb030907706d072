"""LoraRetriever: for each input, the adapters of the tasks that it is most like, merged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from coto_lab.adapters.blocks import blocks_of
from coto_lab.ground.device import default_device
from coto_lab.ground.lists import list_of
from coto_lab.ground.numbers import MAX_SEED, whole_number
from coto_lab.ground.randomness import batch_indices
from coto_lab.merging.merge import merge
from coto_lab.merging.rule import Rule
from coto_lab.scoring.evaluator import Evaluator
from coto_lab.scoring.scores import Scores
from coto_lab.scoring.sources import SOURCES, Source, check_base, open_source
from coto_lab.scoring.variant import Variant
from coto_lab.tasks.check import check_task, fresh_base, try_task
from coto_lab.tasks.nearest_class import mean_over_tokens
from coto_lab.tasks.task import Batch, Task, generates, reads_of, size_of, to_device
from coto_lab.training.run import Run

_BATCH = 64  # examples in a forward pass


class Retriever:
    """How like each task an input is, by the base model's own features.

    A feature vector is the mean, over the tokens of the input, of the last hidden state of the base model's last block, scaled
    to length 1. A task's vector is the mean of those of some of its training examples, scaled to length 1, too. The paper does
    not scale it: with features of a base model, the longest task vectors then win, those of the tasks whose examples are most
    alike.

    Args:
        tasks: what the adapters were trained on, in their order; all on one base model.
        samples: training examples of each task, or all of a task that has fewer.
        seed: decides which.

    Attributes:
        vectors: of the n tasks, float32 ``[n, width]``, each of length 1.

    Raises:
        TypeError: ``tasks`` is no list of tasks, or one lacks a part of the protocol.
        ValueError: ``samples`` below 1; tasks of different bases; a task that writes its answers; one whose answers are texts,
            without ``reads`` (see `Task`); a base model whose last block returns no hidden state of tokens.

    Source: Zhao et al. 2024 (arXiv:2402.09997), whose features are a sentence encoder's.
    """

    def __init__(self, tasks: Sequence[Task], samples: int = 20, seed: int = 0):
        found: list[Any] = list_of("tasks", tasks, object, "give a list of tasks, such as [load_task('glyphs/turned'), ...].")
        samples, seed = whole_number("samples", samples, 1), whole_number("seed", seed, 0, MAX_SEED)
        for task in found:
            check_task(task)
        self._base, self._device = found[0].base, default_device()
        for i, task in enumerate(found):
            self._check(task, f"tasks[{i}]")
        self._model: nn.Module = fresh_base(found[0]).to(self._device).eval()
        self._last = _last_block(self._model, found[0])
        for task in found:
            try_task(task, self._model, "train")
        sampled = (batch_indices(n, min(samples, n), seed, 0) for n in (task.size("train") for task in found))
        means = [self._features(task, "train", own).mean(0) for task, own in zip(found, sampled, strict=True)]
        self.vectors = F.normalize(torch.stack(means), dim=1)

    def similarity(self, task: Task) -> Float[Tensor, "N n"]:
        """The cosine of each of the N test examples of ``task`` and each of the n tasks: float32 ``[N, n]``.

        Raises:
            TypeError: ``task`` lacks a part of the protocol.
            ValueError: it is on another base model, or its input cannot be told from its answer.
        """
        check_task(task)
        self._check(task, "task")
        return self._features(task, "test", range(task.size("test"))) @ self.vectors.T

    def _check(self, task: Task, name: str) -> None:
        if task.base != self._base:
            raise ValueError(f"{name} ({task.name!r}) has another base model than the tasks that are retrieved.")
        if generates(task):
            raise ValueError(f"{name} ({task.name!r}) writes its answers, so there is no one hidden state of its input.")
        if not task.classes and reads_of(task) is None:
            raise ValueError(
                f"{name} ({task.name!r}) has no classes, so its batches may hold the answers, which must not be seen. Give it "
                "a method reads(batch) that says which tokens are the input, see coto_lab.Task."
            )

    def _features(self, task: Task, split: str, places: Sequence[int] | Int64[Tensor, " N"]) -> Float[Tensor, "N width"]:
        parts = []
        for start in range(0, len(places), _BATCH):
            batch = to_device(task.batch(split, places[start : start + _BATCH]), self._device)
            states = self._states(task, batch)
            parts.append(mean_over_tokens(states.float(), _read(task, batch, states)).cpu())
        return torch.cat(parts)

    @torch.no_grad()
    def _states(self, task: Task, batch: Batch) -> Float[Tensor, "n tokens width"]:
        """What the last block returns."""
        kept: list[Any] = []
        hook = self._last.register_forward_hook(lambda _module, _inputs, output: kept.append(output))
        try:
            task.predict(self._model, batch)
        finally:
            hook.remove()
        states = kept[0][0] if isinstance(kept[0], tuple) else kept[0]
        if not isinstance(states, Tensor) or states.dim() != 3 or len(states) != size_of(batch):
            found = list(states.shape) if isinstance(states, Tensor) else type(states).__name__
            raise ValueError(
                f"the last block of the base of task {task.name!r} returned {found}, not one hidden state for each token, "
                f"[{size_of(batch)}, tokens, width]: retrieval has no features there."
            )
        return states


def choose(
    similarity: Float[Tensor, "N n"], k: int = 3, leave_out: int | Int64[Tensor, " N"] | None = None
) -> Int64[Tensor, "N k"]:
    """The k most similar tasks for each input, the most similar one first; of equal ones, the earlier.

    Args:
        similarity: as `Retriever.similarity` gives it.
        k: how many.
        leave_out: a task that is never chosen, or one for each input, such as its own: then the input is out of the domain of
            all adapters that are left (the paper's out-of-domain evaluation).

    Raises:
        ValueError: k below 1, or above the number of tasks that are left; NaN; ``leave_out`` names no task, or is of another
            length.
    """
    if not isinstance(similarity, Tensor) or similarity.dim() != 2 or similarity.isnan().any():
        raise ValueError("similarity must be a tensor [N, n] without NaN, as Retriever.similarity gives it.")
    inputs, n = similarity.shape
    k = whole_number("k", k, 1, n if leave_out is None else n - 1)
    if leave_out is not None:
        left = torch.as_tensor(leave_out)
        if left.dtype != torch.long or left.shape not in ((), (inputs,)) or not ((left >= 0) & (left < n)).all():
            said = f"a tensor {list(left.shape)}" if isinstance(leave_out, Tensor) else repr(leave_out)
            raise ValueError(
                f"leave_out={said}: give the number of a task, from 0 to {n - 1}, or an int64 tensor of {inputs}, one "
                "for each input."
            )
        similarity = similarity.masked_fill(torch.arange(n) == left.expand(inputs)[:, None], -torch.inf)
    return similarity.argsort(dim=1, descending=True, stable=True)[:, :k]


def score_retrieved(
    task: Task, choices: Int64[Tensor, "N k"], adapters: Sequence[Source], how: str | Rule = "fuse", *, split: str = "test"
) -> Scores:
    """What each example scores with the adapters that were chosen for it, merged: one variant, N examples, in their order.

    Each set of adapters is merged once. The paper's *fusion* is ``"fuse"``, which averages the factors, and its *mixture*,
    which averages what the adapters add to the outputs of their layers, is ``"ensemble"``.

    Args:
        task: what to score on.
        choices: for each example the numbers of k adapters, as `choose` gives them.
        adapters: all of them; runs stand for their adapters, and folders for what is in them.
        how: a rule, or its name, as in `coto_lab.merging.merge`.
        split: which examples.

    Raises:
        TypeError: ``adapters`` is no list of runs, adapters or folders.
        ValueError: choices that do not fit the examples or the adapters; adapters that `coto_lab.merging.merge` refuses, or of
            another base than the task's.
    """
    check_task(task)
    items = list_of("adapters", adapters, SOURCES, "give a list of runs, adapters or their folders.")
    sources = [open_source(item, f"adapters[{i}]") for i, item in enumerate(items)]
    for i, source in enumerate(sources):
        check_base(task, source.base, f"adapters[{i}]", source.task if isinstance(source, Run) else None)
    sets = _checked_choices(choices, task.size(split), len(sources))
    distinct, which = sets.unique(dim=0, return_inverse=True)
    merged = [merge([sources[i] for i in own], how) for own in distinct.tolist()]  # before anything is scored
    evaluator, parts, order = Evaluator(task), [], []
    for number, adapter in enumerate(merged):
        places = (which == number).nonzero()[:, 0]
        parts.append(evaluator([Variant(adapter)], split=split, examples=places.tolist()).values)
        order.append(places)
    back = torch.cat(order).argsort()
    return Scores(("",), {name: torch.cat([part[name] for part in parts], dim=1)[:, back] for name in parts[0]})


def _checked_choices(choices: object, examples: int, adapters: int) -> Int64[Tensor, "N k"]:
    """The choices as sets: sorted, so that equal sets are equal rows."""
    if not isinstance(choices, Tensor) or choices.dtype != torch.long or choices.dim() != 2 or len(choices) != examples:
        found = f"{choices.dtype} {list(choices.shape)}" if isinstance(choices, Tensor) else type(choices).__name__
        raise ValueError(f"choices must be int64 [{examples}, k], the numbers of k adapters for each example, got {found}.")
    sets = choices.sort(dim=1).values
    if not choices.numel() or sets.min() < 0 or sets.max() >= adapters or (sets[:, 1:] == sets[:, :-1]).any():
        raise ValueError(f"choices: each example needs different numbers from 0 to {adapters - 1}, those of the adapters.")
    return sets


def _last_block(model: nn.Module, task: Task) -> nn.Module:
    """The last of the blocks that the task's adapters are on."""
    ends = tuple(f".{end}" for end in task.target_modules)
    layers = [name for name, _ in model.named_modules() if f".{name}".endswith(ends)]
    blocks = [block for block in blocks_of(model, layers).values() if block]
    if not blocks:
        raise ValueError(
            f"the base model of task {task.name!r} has no blocks with modules {list(task.target_modules)} in them."
        )
    return model.get_submodule(blocks[-1])


def _read(task: Task, batch: Batch, states: Float[Tensor, "n tokens width"]) -> Int64[Tensor, "n tokens"]:
    """1 for the tokens that are the input: what the task says, else all but the padding."""
    reads = reads_of(task)
    read = reads(batch) if reads is not None else batch.get("attention_mask")
    if read is None:
        return torch.ones(states.shape[:2], dtype=torch.long, device=states.device)
    if not isinstance(read, Tensor) or read.shape != states.shape[:2] or not read.bool().any(1).all():
        found = list(read.shape) if isinstance(read, Tensor) else type(read).__name__
        raise ValueError(
            f"task {task.name!r} says of {found} which tokens are the input, and the hidden states are of "
            f"{list(states.shape[:2])}: reads(batch) must mark at least one token of each example, see coto_lab.Task."
        )
    return read.long()
