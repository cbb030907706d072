"""A pad on which a reader draws a digit, and what the base model and finished adapters read in it."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import replace
from numbers import Real
from typing import Any

import anywidget
import torch
import traitlets
from jaxtyping import Float
from torch import Tensor

from coto_lab.figures.readings import BASE, readings_figure
from coto_lab.scoring.evaluator import Evaluator
from coto_lab.scoring.sources import Source, adapter_of, check_sources
from coto_lab.scoring.variant import Variant
from coto_lab.tasks import Classification
from coto_lab.tasks.digits import COUNTS, INK, enlarged
from coto_lab.tasks.glyphs import IMAGE_SIZE
from coto_lab.widgets.late import answer_late, code
from coto_lab.widgets.view import View

_SURE = 0.5  # a reading whose best class has less certainty is not sure; as on the page of the playground


class Pad(anywidget.AnyWidget):
    """The pad alone. It counts ink as the makers of the digits did, so its images are like those of the data set.

    Attributes:
        counts: 64 numbers from 0 to 16, row by row: the inked cells in each of 8x8 squares of 4x4 cells. Empty where nothing is
            drawn. A new value is shown on the pad.
    """

    counts = traitlets.List(traitlets.Int(min=0, max=INK)).tag(sync=True)

    _esm = code("pad.js", "drawing_pad.js")
    _css = """
.coto-drawing { --ink: var(--jp-ui-font-color1, currentColor); --soft: var(--jp-ui-font-color2, currentColor);
  --line: var(--jp-border-color1, #8888); --accent: var(--jp-brand-color1, #1976D2); color: var(--ink); padding: 4px; }
.coto-drawing-pad > :has(.coto-pad) { flex: 0 1 20rem; min-width: 14rem; }
.coto-drawing-pad > .coto-figure { flex: 1 1 24rem; width: auto; }
.coto-drawing-pad > .coto-figure > * { min-width: 24rem; }
"""

    def __init__(self, **traits: Any):
        super().__init__(**traits)
        answer_late(self, ["counts"])

    @traitlets.validate("counts")
    def _whole_image(self, proposal: Any) -> list[int]:
        value: list[int] = proposal["value"]
        if len(value) not in (0, COUNTS * COUNTS):
            raise traitlets.TraitError(f"counts has {len(value)} numbers: give {COUNTS * COUNTS}, or none.")
        return value


class DrawingPad(View):
    """Draw a digit and see what the base model and finished runs read: how certain each is of every class.

    Args:
        task: the digits, or another task whose base model reads their 16x16 images.
        runs: method name -> run (or adapter, or folder).
        counts: an image to begin with, 64 numbers from 0 to 16, such as a row of ``sklearn.datasets.load_digits().data``.

    Attributes:
        pad: a `Pad`.

    Raises:
        TypeError: ``task`` has no classes and images; something given as a run is not a run, adapter or folder.
        ValueError: the task's images have another size; there are no runs; a run is of another task or base; ``counts`` is no
            such image.
    """

    def __init__(self, task: Classification, runs: Mapping[str, Source], counts: Sequence[int] = ()):
        check_sources("runs", runs)
        self._task = _one_image(task)
        adapters = {name: adapter_of(task, source, f"runs[{name!r}]") for name, source in runs.items()}
        self._evaluator = Evaluator(self._task)
        first = next(iter(adapters.values()))
        shut = torch.zeros(len(self._evaluator.sites(first)), dtype=torch.bool)
        self._variants = {BASE: Variant(first, shut)} | {name: Variant(adapter) for name, adapter in adapters.items()}
        self.pad = Pad(counts=_whole_numbers(counts))
        nothing = dict.fromkeys(self._variants)
        super().__init__(readings_figure(task.classes, nothing), [self.pad], "coto-drawing-pad")
        self.pad.observe(lambda _: self._show(), "counts")
        self._show()

    def readings(self) -> dict[str, Float[Tensor, " classes"]]:
        """How certain the base and each run are of every class; a model's certainties sum to 1. Empty without an image."""
        if not self.pad.counts:
            return {}
        image = torch.tensor(self.pad.counts, dtype=torch.float32).reshape(1, COUNTS, COUNTS)
        self._task.test_batch["pixel_values"].copy_(enlarged(image))
        logits = self._evaluator(list(self._variants.values()), outputs=True).logits
        return dict(zip(self._variants, logits[:, 0].double().softmax(-1).float(), strict=True))

    def _show(self) -> None:
        readings = self.readings()
        readings_figure(self._task.classes, dict.fromkeys(self._variants) | readings, self.figure)
        self.say(self._sentence(readings))

    def _sentence(self, readings: Mapping[str, Tensor]) -> str:
        if not readings:
            return "Nothing is drawn. Draw a digit on the pad."
        parts = []
        for name, shares in readings.items():
            best = int(shares.argmax())
            sure = "" if shares[best] >= _SURE else ", not sure"
            read = f"<b>{html.escape(self._task.classes[best])}</b> ({shares[best]:.0%} certain{sure})"
            parts.append(f"{html.escape(name)} {read}")
        unsure = max(shares.max().item() for shares in readings.values()) < _SURE
        nobody = f" No reading is sure: the best certainty of each is below {_SURE:.0%}."
        return f"Read as: {', '.join(parts)}." + (nobody if unsure else "")


def _whole_numbers(counts: Sequence[int]) -> list[int]:
    """An image as the pad has it; NumPy's and float's whole numbers are whole numbers, too."""
    found = list(counts)
    if len(found) not in (0, COUNTS * COUNTS):
        raise ValueError(f"counts has {len(found)} numbers: give {COUNTS * COUNTS}, row by row, or none.")
    for place, count in enumerate(found):
        if not isinstance(count, Real) or count not in range(INK + 1):
            raise ValueError(f"counts[{place}]={count!r}: must be a whole number from 0 to {INK}.")
    return [int(count) for count in found]


def _one_image(task: Classification) -> Classification:
    """The task with a test set of one image, whose pixels the pad overwrites."""
    if not isinstance(task, Classification):
        raise TypeError(f"task is a {type(task).__name__}: give load_task('digits'), or another task of images with classes.")
    own = replace(task, test=task.test.select([0]))
    images, wanted = own.test_batch.get("pixel_values"), (1, 1, IMAGE_SIZE, IMAGE_SIZE)
    if images is None or images.shape != wanted:
        found = "no images" if images is None else f"images {list(images.shape[1:])}"
        raise ValueError(f"task {task.name!r} has {found}: the pad makes {list(wanted[1:])}, as load_task('digits') has.")
    return own
