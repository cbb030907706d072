"""Labels as names and numbers, and those that no head can hold."""

from __future__ import annotations

import math

import datasets
import pytest
import torch

from coto_lab.tasks.hub.labels import check_names, check_order, class_names, targets_of


def rows(values: list, feature: object = None) -> datasets.Dataset:
    features = None if feature is None else datasets.Features({"label": feature})
    return datasets.Dataset.from_dict({"label": values}, features=features)


@pytest.mark.parametrize(
    ("data", "names", "numbers"),
    [
        (rows([1, 0], datasets.ClassLabel(names=["no", "yes", "maybe"])), ("no", "yes", "maybe"), [1, 0]),
        (rows(["tree", "cat", "tree"]), ("cat", "tree"), [1, 0, 1]),
        (rows([0, 2, 0]), ("0", "1", "2"), [0, 2, 0]),
        (rows([True, False]), ("False", "True"), [1, 0]),
    ],
    ids=["named", "strings", "numbers", "booleans"],
)
def test_classes(data: datasets.Dataset, names: tuple[str, ...], numbers: list[int]) -> None:
    assert class_names(data, "label") == names
    found = targets_of(data, "label", names, "train")
    assert found.dtype == torch.int64 and found.tolist() == numbers


def test_numbers_to_predict() -> None:
    found = targets_of(rows([0.5, 3.0]), "label", None, "train")
    assert found.dtype == torch.float32 and found.tolist() == [0.5, 3.0]
    assert targets_of(rows([1, 2]), "label", None, "train").dtype == torch.float32


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (rows([0.5, 1.0]), r"the column 'label' holds .*: classes are whole numbers from 0, or strings.* regression=True"),
        (rows([1, None]), "the column 'label' holds None: .*leave out examples without a label"),
        (rows(["a", "a"]), "the column 'label' holds the one class 'a': there must be at least two"),
        (rows([-1, -1]), "the column 'label' holds -1 alone: there must be at least two classes"),
        (rows([[0], [1]]), r"the column 'label' holds \[0\]: classes are whole numbers from 0, or strings"),
        (rows([2**40, 0]), r"holds 1099511627776: numbers of classes count them from 0, and at most 100000 .*as strings"),
    ],
    ids=["floats", "missing", "one class", "no class", "lists", "identifiers"],
)
def test_columns_that_are_no_classes(data: datasets.Dataset, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        class_names(data, "label")


@pytest.mark.parametrize(
    ("data", "classes", "said"),
    [
        (rows([0, -1]), ("a", "b"), r"test\[1\] has label=-1, which means that it has no label\. .*GLUE's test sets"),
        (rows([0, None]), ("a", "b"), r"test\[1\] has label=None, which means that it has no label"),
        (rows([0, 2]), ("a", "b"), r"test\[1\] has label=2, and the head has 2 classes \(a, b\)\. Name all classes in labels="),
        (rows([-2]), ("a", "b"), r"test\[0\] has label=-2, and the head has 2 classes"),
        (rows([0.5]), ("a", "b"), r"test\[0\] has label=0\.5, and the head has 2 classes"),
        (rows(["c"]), ("a", "b"), r"test\[0\] has label='c', and the head has 2 classes"),
        (rows([1.0, math.nan]), None, r"test\[1\] has label=nan: it must be a finite number"),
        (rows(["1.0"]), None, r"test\[0\] has label='1.0': it must be a finite number"),
        (rows([[1.0]]), None, r"test\[0\] has label=\[1.0\]: it must be a finite number"),
        (
            rows([0, 1], datasets.ClassLabel(names=["B", "a"])),
            ("a", "b"),
            r"the column 'label' of the data for test has the classes \('B', 'a'\), and the task has \('a', 'b'\).*as strings",
        ),
        (rows([None]), None, r"test\[0\] has label=None: it must be a finite number"),
    ],
)
def test_labels_that_do_not_fit_are_refused(data: datasets.Dataset, classes: tuple[str, ...] | None, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        targets_of(data, "label", classes, "test")


def test_a_long_list_of_classes_is_cut() -> None:
    with pytest.raises(ValueError, match=r"12 classes \(0, 1, 2, 3, 4, 5, 6, 7, \.\.\.\)\. Name"):
        targets_of(rows([12]), "label", tuple(map(str, range(12))), "train")


def test_names_as_strings_take_the_order_of_the_task() -> None:
    assert targets_of(rows(["a", "b"]), "label", ("b", "a"), "test").tolist() == [1, 0]


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (("a", "b"), ("A", "B")),
        (("A", "b", "a"), ("A", "b", "a")),
        (("no", "yes"), ("negative", "positive")),
        (("a", "b"), ("a", "b", "c")),
    ],
)
def test_orders_that_agree(theirs: tuple[str, ...], ours: tuple[str, ...]) -> None:
    check_order("the data", theirs, ours)


@pytest.mark.parametrize("theirs", [("b", "a"), ("B", "A"), ("b", "B"), ("b", "c"), ("c", "a")])
def test_orders_that_disagree(theirs: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"the data has the classes .*, so a name that both have has another number there"):
        check_order("the data", theirs, ("a", "b"))


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (("a", "b", "a"), r"labels=\('a', 'b', 'a'\): 'a' is there 2 times\. Name each class once"),
        ((0, 1), r"labels=\(0, 1\): give a tuple of names"),
    ],
)
def test_names_that_name_no_classes(labels: tuple, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_names(labels)
