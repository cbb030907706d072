"""The pad in a notebook, from the kernel's side; tests/browser draws on it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import traitlets
from datasets import Dataset
from sklearn.datasets import load_digits

from coto_lab import Run, load_task
from coto_lab.studies.gallery import load_run
from coto_lab.tasks.digits import enlarged
from coto_lab.widgets import DrawingPad
from coto_lab.widgets.drawing_pad import Pad
from coto_lab.widgets.view import plain

CLEAR, HARD = 10, 5  # places in scikit-learn's digits: a 0, and a 5 of which even LoRA is not sure


@pytest.fixture(scope="module")
def runs() -> dict[str, Run]:
    return {name: load_run(f"{name.lower()}-seed0") for name in ("LoRA", "CoTo")}


@pytest.fixture
def view(runs: dict[str, Run]) -> DrawingPad:
    return DrawingPad(load_task("digits"), runs)


def image(place: int) -> list[int]:
    return [int(count) for count in load_digits().data[place]]


def by_peft(place: int, run: Run | None) -> torch.Tensor:
    """Probabilities of the digits by another way: PEFT's own model, on the data set's image."""
    task = load_task("digits")
    model = task.load_base().eval()
    if run is not None:
        model = run.adapter.attach(model).eval()
    pixels = enlarged(torch.from_numpy(load_digits().images[[place]]).float())
    with torch.no_grad():
        return model(pixel_values=pixels).logits[0, :10].softmax(0)


@pytest.mark.parametrize("place", [CLEAR, HARD])
def test_it_reads_as_the_models_do(view: DrawingPad, runs: dict[str, Run], place: int) -> None:
    view.pad.counts = image(CLEAR + HARD - place)  # another image first: nothing of it must stay
    view.pad.counts = image(place)
    readings = view.readings()
    assert list(readings) == ["Base", "LoRA", "CoTo"]
    told = []
    for bar, (name, shares) in zip(view.figure.data, readings.items(), strict=True):
        expected = by_peft(place, runs.get(name))
        torch.testing.assert_close(shares, expected, rtol=0, atol=1e-5)
        np.testing.assert_allclose(bar.y, 100 * shares)
        sure = "" if shares.max() >= 0.5 else ", not sure"
        told.append(f"{name} {shares.argmax()} ({shares.max():.0%} certain{sure})")
    assert plain(view.text.value) == f"Read as: {', '.join(told)}."


def test_an_empty_pad_has_no_reading(view: DrawingPad, count_variants: Callable[[], list[int]]) -> None:
    scored = count_variants()
    assert plain(view.text.value) == "Nothing is drawn. Draw a digit on the pad."
    view.pad.counts = image(CLEAR)
    view.pad.counts = []
    assert view.readings() == {}
    assert plain(view.text.value) == "Nothing is drawn. Draw a digit on the pad."
    assert all(set(bar.y) == {0} for bar in view.figure.data)
    assert scored == [3], "the base model and two runs, for the one image"


def test_it_says_when_a_reading_and_when_none_is_sure(runs: dict[str, Run]) -> None:
    """The limit and the words are those of the playground's page."""
    read_js = (Path(__file__).parents[2] / "playground/js/read.js").read_text(encoding="utf-8")
    assert "export const SURE = 0.5;" in read_js
    view = DrawingPad(load_task("digits"), {"LoRA": runs["LoRA"]}, counts=image(CLEAR))
    assert "certain, not sure), LoRA <b>0</b> (100% certain)." in view.text.value
    noise = np.random.default_rng(0)
    unsure = (noise.integers(0, 17, 64).tolist() for _ in range(200))
    for counts in unsure:
        view.pad.counts = counts
        certainties = [shares.max().item() for shares in view.readings().values()]
        best = max(certainties)
        assert view.text.value.count(", not sure") == sum(certainty < 0.5 for certainty in certainties)
        assert ("No reading is sure: the best certainty of each is below 50%." in view.text.value) == (best < 0.5)
        if best < 0.5:
            return
    pytest.fail("every noise was read with certainty")


@pytest.mark.parametrize("counts", [[1, 2], [17] * 64, [-1] * 64])
def test_what_is_no_image_is_refused(counts: list[int]) -> None:
    with pytest.raises(traitlets.TraitError):
        Pad(counts=counts)


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ([1, 2], "counts has 2 numbers: give 64, row by row, or none"),
        ([17] + [0] * 63, "counts[0]=17: must be a whole number from 0 to 16"),
        ([0] * 63 + [-1], "counts[63]=-1: must be"),
        ([5.7] * 64, "counts[0]=5.7: must be"),
        ([float("nan")] * 64, "counts[0]=nan: must be"),
        (["a"] * 64, "counts[0]='a': must be"),
        ([[0]] * 64, "counts[0]=[0]: must be"),
    ],
)  # fmt: skip
def test_numbers_that_are_no_image_are_named(counts: list[Any], said: str, runs: dict[str, Run]) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        DrawingPad(load_task("digits"), {"LoRA": runs["LoRA"]}, counts=counts)


def test_other_tasks_are_refused(runs: dict[str, Run]) -> None:
    digits = load_task("digits")
    texts = replace(digits, test=Dataset.from_dict({"input_ids": [[1, 2]], "labels": [0]}).with_format("torch"))
    small = replace(
        digits, test=Dataset.from_dict({"pixel_values": np.zeros((2, 1, 8, 8)), "labels": [0, 1]}).with_format("torch")
    )
    other: list[tuple[Any, type[Exception], str]] = [
        (digits.every(4), TypeError, "task is a Part: give load_task"),
        (texts, ValueError, "has no images"),
        (small, ValueError, r"has images \[1, 8, 8\]: the pad makes \[1, 16, 16\]"),
    ]
    for task, kind, message in other:
        with pytest.raises(kind, match=message):
            DrawingPad(task, runs)
    with pytest.raises(ValueError, match="runs is empty"):
        DrawingPad(digits, {})
