"""Data sets of questions with choices: where they are, and how a row is read."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from coto_lab.tasks.check import SPLITS
from coto_lab.tasks.hub.splits import check_splits

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Question:
    """A question with choices.

    Attributes:
        contexts: what stands before each choice; mostly the same text.
        choices: the texts whose likelihoods are compared, with the space that parts them from their contexts.
        right: the place of the right one.
    """

    contexts: tuple[str, ...]
    choices: tuple[str, ...]
    right: int

    @classmethod
    def asked(cls, prompt: str, choices: Sequence[str], right: int) -> Question:
        """One prompt, and after a space one of the choices."""
        return cls((prompt,) * len(choices), tuple(f" {choice}" for choice in choices), right)


@dataclass(frozen=True)
class ChoiceSet:
    """A data set of questions with choices.

    Attributes:
        data: a data set of the hub, or a folder.
        read: makes a `Question` of a row.
        columns: that ``read`` looks at.
        subset: which configuration of the data set.
        splits: the names of the splits to train and to score on. Where a test split has no answers, it is the validation split.

    Raises:
        ValueError: ``splits`` is not two names.
    """

    data: str
    read: Callable[[Row], Question]
    columns: tuple[str, ...]
    subset: str | None = None
    splits: tuple[str, str] = SPLITS

    def __post_init__(self) -> None:
        check_splits(self.splits)


def _labelled(prompt: str, row: Row) -> Question:
    """Of a row with the columns ``choices``, texts and labels, and ``answerKey``, one of the labels."""
    choices = row["choices"]
    return Question.asked(prompt, choices["text"], choices["label"].index(row["answerKey"].strip()))


def _hellaswag(row: Row) -> Question:
    def clean(text: str) -> str:  # marks that are left over from the web pages
        return re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". ")).replace("  ", " ")

    prompt = clean(f"{row['activity_label']}: {row['ctx_a']} {row['ctx_b'].capitalize()}")
    return Question.asked(prompt, [clean(ending) for ending in row["endings"]], int(row["label"]))


def _winogrande(row: Row) -> Question:
    """The options stand in the middle, so the likelihood is that of what follows them."""
    before, _, after = row["sentence"].partition("_")
    options = (before + row["option1"], before + row["option2"])
    return Question(options, (f" {after.strip()}",) * 2, ("1", "2").index(row["answer"]))


def _arc(subset: str) -> ChoiceSet:
    return ChoiceSet(
        "allenai/ai2_arc",
        lambda row: _labelled(f"Question: {row['question']}\nAnswer:", row),
        ("question", "choices", "answerKey"),
        subset,
    )


_TO_VALIDATION = ("train", "validation")

CHOICE_SETS: dict[str, ChoiceSet] = {
    "arc-easy": _arc("ARC-Easy"),
    "arc-challenge": _arc("ARC-Challenge"),
    "boolq": ChoiceSet(
        "google/boolq",
        lambda row: Question.asked(
            f"{row['passage']}\nQuestion: {row['question']}?\nAnswer:", ("no", "yes"), int(row["answer"])
        ),
        ("passage", "question", "answer"),
        splits=_TO_VALIDATION,
    ),
    "hellaswag": ChoiceSet(
        "Rowan/hellaswag",
        _hellaswag,
        ("activity_label", "ctx_a", "ctx_b", "endings", "label"),
        splits=_TO_VALIDATION,
    ),
    "openbookqa": ChoiceSet(
        "allenai/openbookqa",
        lambda row: _labelled(row["question_stem"], row),
        ("question_stem", "choices", "answerKey"),
        "main",
    ),
    "piqa": ChoiceSet(
        "baber/piqa",
        lambda row: Question.asked(f"Question: {row['goal']}\nAnswer:", (row["sol1"], row["sol2"]), int(row["label"])),
        ("goal", "sol1", "sol2", "label"),
        splits=_TO_VALIDATION,
    ),
    "social-iqa": ChoiceSet(
        "lighteval/siqa",
        lambda row: Question.asked(
            f"Q: {row['context']} {row['question']}\nA:",
            (row["answerA"], row["answerB"], row["answerC"]),
            ("1", "2", "3").index(str(row["label"])),
        ),
        ("context", "question", "answerA", "answerB", "answerC", "label"),
        splits=_TO_VALIDATION,
    ),
    "winogrande": ChoiceSet(
        "allenai/winogrande",
        _winogrande,
        ("sentence", "option1", "option2", "answer"),
        "winogrande_xl",
        splits=_TO_VALIDATION,
    ),
}
