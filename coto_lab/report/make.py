"""The report on adapters: measured, and written as a page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from coto_lab.ground.files import write_file
from coto_lab.ground.numbers import real_number, whole_number
from coto_lab.ground.versions import version_of
from coto_lab.report.fusing import Fusing, fuse_all, part_to_fuse
from coto_lab.report.keep import Kept, check_can_keep, check_keep, keep_best
from coto_lab.report.measures import Measures, Measuring
from coto_lab.report.page import frame, page
from coto_lab.report.places import check_new_folder, check_page
from coto_lab.report.sections import all_sections
from coto_lab.report.subject import open_subjects
from coto_lab.scoring.sources import Source
from coto_lab.tasks.check import check_task
from coto_lab.tasks.part import Part
from coto_lab.tasks.task import Task


@dataclass(frozen=True, eq=False)
class Report:
    """What `report` returns; the last line of a notebook's cell shows it.

    Attributes:
        task: the task's name.
        base: identity of the base model.
        of: how many test examples the task has.
        measures: of each adapter.
        fusing: of two or more adapters; None for one.
        kept: the pruned adapter; None unless it was asked for.
    """

    task: str
    base: str
    of: int
    measures: tuple[Measures, ...]
    fusing: Fusing | None
    kept: Kept | None

    @cached_property
    def html(self) -> str:
        """The whole page, with plotly's JavaScript in it (5 MB)."""
        names = ", ".join(m.subject.name for m in self.measures)
        examples = self.measures[0].examples
        chosen = f"all {self.of}" if examples == self.of else f"{examples} of {self.of}, evenly spread"
        base = self.base if len(self.base) < 64 else self.base[:12]  # a name, or the beginning of a hash
        versions = ", ".join(f"{name} {version_of(name)}" for name in ("coto_lab", "torch", "transformers", "peft"))
        about = [
            f"Task {self.task}, test examples: {chosen}. Base model {base}. {versions}.",
            "All numbers are of these adapters and these examples. Another training, even by the same method, gives others.",
        ]
        return page(f"Adapter report: {names}", about, all_sections(self.measures, self.fusing, self.kept))

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write the page to a file.

        Raises:
            FileExistsError: there is something at ``path``, and ``overwrite`` is False, or it is a folder.
            OSError: it is in no folder; the disk is full or not writable.
        """
        path = check_page(path, overwrite)
        write_file(path, lambda temporary: temporary.write_text(self.html, encoding="utf-8"))  # type: ignore[arg-type]
        return path

    def _repr_html_(self) -> str:
        return frame(self.html)

    def __repr__(self) -> str:
        return f"Report({', '.join(m.subject.name for m in self.measures)}; task {self.task!r}); save(path) writes the page"


def report(
    adapters: Source | Sequence[Source] | Mapping[str, Source],
    task: Task,
    *,
    examples: int = 500,
    minutes: float | None = 1.0,
    keep: float | None = None,
    save: str | Path | None = None,
    progress: bool = True,
) -> Report:
    """Measure finished adapters, and explain what was found on a page.

    An adapter may be of any PEFT method and from any training. The report has its score, which blocks and kinds of module
    matter, what is left after pruning, how large the updates are, how several adapters fuse, and what CoTo's masks save.

    Args:
        adapters: one run, adapter or folder, a list of them, or a dict by name.
        task: what to score on; its base model is that of the adapters.
        examples: test examples at most; they are spread evenly over the test set.
        minutes: about how long all parts beyond the first scores may take. They take fewer examples, or estimate Shapley
            values from fewer orders, until they fit; the page says how many. None sets no limit: all examples, and all
            coalitions of up to 12 blocks.
        keep: the share of the blocks of a pruned adapter, in (0, 1]; for one adapter.
        save: a new folder for the pruned adapter.
        progress: whether to show a progress bar.

    Raises:
        TypeError: ``adapters`` holds something else; ``task`` lacks a part of the protocol.
        ValueError: an adapter that cannot be read, is of another base, task or method than can be scored, or holds numbers that
            are not finite; a task without test examples; ``examples``, ``minutes`` or ``keep`` out of range; ``keep`` for
            several adapters; ``save`` without ``keep``.
        OSError: there is something at ``save``, or nothing may be written there.
    """
    from tqdm.auto import tqdm

    check_task(task)
    examples = whole_number("examples", examples, 1)
    if minutes is not None and not 0 <= real_number("minutes", minutes) < math.inf:
        raise ValueError(f"minutes={minutes!r}: must be 0 or above, or None for no limit.")
    folder = None if save is None else Path(save)
    if keep is not None:
        check_keep(keep)
    if folder is not None:
        if keep is None:
            raise ValueError(f"save={str(save)!r} is for the pruned adapter: say with keep which share of the blocks it has.")
        check_new_folder(folder)
    if task.size("test") < 1:
        raise ValueError(f"task {task.name!r} has no test examples to report on.")
    subjects = open_subjects(adapters, task)
    if keep is not None and len(subjects) > 1:
        raise ValueError(f"keep={keep!r}: prunes one adapter, and there are {len(subjects)}. Give one.")
    step = math.ceil(task.size("test") / examples)
    if keep is not None:
        check_can_keep(subjects[0].adapter, Part(task, step).size("test"))
    several = len(subjects) > 1
    seconds = None if minutes is None else 60 * minutes / (len(subjects) + several / 2)
    kept = fusing = None
    with tqdm(unit=" answers", unit_scale=True, disable=not progress) as bar:
        measurings: list[Measuring] = []
        for subject in subjects:
            bar.set_description(subject.name)
            like = measurings[0].scorer(1) if measurings else None
            measurings.append(Measuring(task, subject, step, seconds, bar.update, like))
        pace = max(measuring.pass_seconds for measuring in measurings)
        part, mixtures = part_to_fuse(Part(task, step), len(subjects), pace, None if seconds is None else seconds / 2)
        bar.total = bar.n + sum(measuring.planned for measuring in measurings) + several * mixtures
        measures = []
        for measuring in measurings:
            bar.set_description(measuring.subject.name)
            measures.append(measuring.measure())
        if keep is not None:
            bar.set_description("pruning")
            kept = keep_best(measurings[0], keep, folder)
        if several:
            bar.set_description("fusing")
            fusing = fuse_all(part, subjects, measurings[0].scorer(1), bar.update)
        bar.total = bar.n
        bar.refresh()
    return Report(task.name, task.base, task.size("test"), tuple(measures), fusing, kept)
