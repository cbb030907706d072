"""Base models and their data; tasks by name."""

from __future__ import annotations

from typing import Literal, overload

from coto_lab.tasks.classification import Classification
from coto_lab.tasks.digits import load_digits_task
from coto_lab.tasks.docstrings import load_docstrings_task
from coto_lab.tasks.glyph_diffusion import GlyphDiffusion
from coto_lab.tasks.hub.causal import SupervisedFineTuning
from coto_lab.tasks.hub.choices import MultipleChoice
from coto_lab.tasks.hub.clip import FewShotCLIP
from coto_lab.tasks.hub.generated import GeneratedAnswers
from coto_lab.tasks.hub.glue import glue
from coto_lab.tasks.hub.images import ImageClassification
from coto_lab.tasks.hub.sequence import SequenceClassification
from coto_lab.tasks.hub.source import Source
from coto_lab.tasks.joint import Joint
from coto_lab.tasks.nearest_class import NearestClass
from coto_lab.tasks.part import Chosen, Part
from coto_lab.tasks.shifted_glyphs import TASKS as GLYPH_TASKS
from coto_lab.tasks.shifted_glyphs import load_shifted_task
from coto_lab.tasks.skills import SKILLS, Skill
from coto_lab.tasks.string_task import StringTask
from coto_lab.tasks.strings import TASKS, load_string_task
from coto_lab.tasks.task import Example, Task, to_device

__all__ = [
    "SKILLS",
    "Chosen",
    "Classification",
    "Example",
    "FewShotCLIP",
    "GeneratedAnswers",
    "GlyphDiffusion",
    "ImageClassification",
    "Joint",
    "MultipleChoice",
    "NearestClass",
    "Part",
    "SequenceClassification",
    "Skill",
    "Source",
    "StringTask",
    "SupervisedFineTuning",
    "Task",
    "glue",
    "load_task",
    "to_device",
]

_STRINGS, _GLYPHS = "strings/", "glyphs/"


@overload
def load_task(name: Literal["digits"]) -> Classification: ...


@overload
def load_task(name: Literal["docstrings"]) -> NearestClass: ...


@overload
def load_task(name: str) -> Classification | StringTask: ...


def load_task(name: str) -> Classification | StringTask:
    """The task called ``name``; none needs a download.

    Args:
        name: ``"digits"``; or ``"strings/"`` and the name of a task in `coto_lab.tasks.strings`, such as
            ``"strings/sort-descending"``; or ``"glyphs/"`` and the name of a task in `coto_lab.tasks.shifted_glyphs`, such as
            ``"glyphs/mirrored"``; or ``"docstrings"``, whose base model is in a package of its own.

    Raises:
        ValueError: no such task; or the embedded base model is damaged.
        FileNotFoundError: the embedded base model is missing.
        ImportError: the package with the base model of the docstrings is not installed.
    """
    if name == "digits":
        return load_digits_task()
    if name == "docstrings":
        return load_docstrings_task()
    if isinstance(name, str) and name.removeprefix(_STRINGS) in TASKS and name.startswith(_STRINGS):
        return load_string_task(name.removeprefix(_STRINGS))
    if isinstance(name, str) and name.removeprefix(_GLYPHS) in GLYPH_TASKS and name.startswith(_GLYPHS):
        return load_shifted_task(name.removeprefix(_GLYPHS))
    known = ["digits", "docstrings", *(f"{_GLYPHS}{task}" for task in GLYPH_TASKS), *(f"{_STRINGS}{task}" for task in TASKS)]
    raise ValueError(f"name={name!r}: no such task; there is {', '.join(map(repr, known))}.")
