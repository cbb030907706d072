"""An evaluator for a report: it scores nothing twice, shares its base model with others, and says how far it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from coto_lab.adapters.adapter import Adapter
from coto_lab.adapters.peft_model import put_in, twin
from coto_lab.report.smaller import targeting
from coto_lab.scoring.evaluator import Evaluator
from coto_lab.scoring.scores import Scores
from coto_lab.scoring.sites import module_mask
from coto_lab.scoring.tree import TreeScorer
from coto_lab.scoring.variant import Variant
from coto_lab.tasks.part import Part
from coto_lab.tasks.task import Task

_PIECE = 64  # variants between two moves of the progress bar


class _Complete(Part):
    """A task whose base model holds its trained new layers already, so that adapters need not."""

    @property
    def modules_to_save(self) -> tuple[str, ...]:
        """None is new."""
        return ()


class Remembering(Evaluator):
    """Scores variants of one adapter, and keeps what each mask scored on each test example.

    Probes ask for the same masks again and again: all coalitions of the blocks have those of dropout stability among them, and
    the best half of the blocks.

    Args:
        task: what to score on.
        adapter: whose masks are remembered; variants of others are scored each time.
        like: an evaluator on the same base model, which is then not loaded again.
        moved: is told how many variants have been scored.

    Attributes:
        adapter: the adapter without the modules that were trained whole: no gate rules them.
        base: the base model with these modules in it, on the evaluator's device; nothing may change it.

    Raises:
        ValueError: the base model has no such modules, or has them in another size.
    """

    def __init__(
        self,
        task: Task,
        adapter: Adapter,
        like: Remembering | None = None,
        moved: Callable[[int], None] | None = None,
    ):
        super().__init__(task)
        self._bare: nn.Module = self._load() if like is None else like._bare
        self.adapter, whole = adapter.apart()
        if whole:  # PEFT would train the head of a known kind of task whole, without being asked, or adapt layers in it
            self.task = _Complete(task, 1)
            config = self.adapter.config | {"task_type": None}
            if self.adapter.modules and not config.get("target_parameters"):
                config = targeting(config, self.adapter.modules)
            self.adapter = replace(self.adapter, config=config)
        try:
            self.base = put_in(twin(self._bare), whole) if whole else self._bare
        except TypeError as error:
            raise ValueError(
                f"the adapter does not fit the base model of task {task.name!r}: it has modules that were trained whole, and "
                f"{error} Give the model and the task (its number of classes) that it was trained on."
            ) from error
        self._base = self.base
        self._known: dict[bytes, dict[str, Tensor]] = {}
        self._moved = moved

    @property
    def shares_blocks(self) -> bool:
        """Whether variants that agree in their lower blocks share the computation of these."""
        return isinstance(self._scorer(self.adapter, 2)[0], TreeScorer)

    def __call__(
        self,
        variants: Sequence[Variant],
        *,
        split: str = "test",
        examples: Sequence[int] | None = None,
        outputs: bool = False,
    ) -> Scores:
        """As `Evaluator`; variants whose mask was scored before are looked up."""
        if examples is not None or outputs or split != "test" or any(v.adapter is not self.adapter for v in variants):
            return self._in_pieces(variants, split, examples, outputs)
        sites = self.sites(self.adapter)
        keys = [module_mask(sites, variant.mask).numpy().tobytes() for variant in variants]
        new = {key: variant for key, variant in zip(keys, variants, strict=True) if key not in self._known}
        if new:
            found = self._in_pieces(list(new.values()), split, None, outputs).values
            self._known |= {key: {name: rows[i] for name, rows in found.items()} for i, key in enumerate(new)}
        rows = [self._known[key] for key in keys]
        return Scores(tuple(v.name for v in variants), {name: torch.stack([row[name] for row in rows]) for name in rows[0]})

    def _in_pieces(self, variants: Sequence[Variant], split: str, examples: Sequence[int] | None, outputs: bool) -> Scores:
        parts = []
        for start in range(0, len(variants), _PIECE):
            piece = variants[start : start + _PIECE]
            parts.append(super().__call__(piece, split=split, examples=examples, outputs=outputs))
            if self._moved is not None:
                self._moved(len(piece))
        return parts[0] if len(parts) == 1 else Scores.join(parts)
