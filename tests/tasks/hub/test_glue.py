"""The nine tasks of GLUE, on small data of the same columns."""

from __future__ import annotations

from pathlib import Path

import datasets
import numpy as np
import pytest
from tiny_classifiers import WORDS, save_parquet, save_text_model

from coto_lab import Evaluator, Linear, Recipe, Variant, fit
from coto_lab.tasks.check import check_task, try_task
from coto_lab.tasks.hub.glue import GLUE, glue
from coto_lab.tasks.hub.metrics import METRICS, metric_table
from coto_lab.tasks.hub.source import Source


def small_set(name: str) -> datasets.DatasetDict:
    """Random texts with the columns, classes and splits of a task of GLUE; its test set has no labels."""
    about, rng = GLUE[name], np.random.default_rng(0)

    def rows(n: int, labelled: bool = True) -> datasets.Dataset:
        texts = {column: [" ".join(rng.choice(WORDS, 4)) for _ in range(n)] for column in about.text}
        labels = [i % len(about.labels) for i in range(n)] if about.labels else [float(i % 6) for i in range(n)]
        kind = datasets.ClassLabel(names=list(about.labels)) if about.labels else datasets.Value("float32")
        features = datasets.Features({column: datasets.Value("string") for column in about.text} | {"label": kind})
        return datasets.Dataset.from_dict(texts | {"label": labels if labelled else [-1] * n}, features=features)

    splits = {"train": rows(12), about.test: rows(12), "test": rows(6, labelled=False)}
    return datasets.DatasetDict(splits | ({"validation_mismatched": rows(9)} if name == "mnli" else {}))


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_text_model(tmp_path_factory.mktemp("bert"), "bert")


@pytest.mark.parametrize("name", GLUE)
def test_each_task(name: str, bert: str) -> None:
    task = glue(name, bert, small_set(name))
    check_task(task)
    base = task.load_base()
    for split in ("train", "test"):
        try_task(task, base, split)
    assert (task.name, task.classes, task.size("test")) == (f"glue/{name}", GLUE[name].labels, 12)
    assert base.classifier.out_features == max(1, len(GLUE[name].labels)) == len(base.config.id2label)
    text = task.show("test", [0])[0].text
    assert text.count("\n") == len(GLUE[name].text) - 1


def test_the_list_is_complete() -> None:
    assert sorted(GLUE) == sorted(["cola", "sst2", "mrpc", "qqp", "stsb", "mnli", "qnli", "rte", "wnli"])
    assert {metric for about in GLUE.values() for metric in about.metrics} == set(METRICS)
    assert [name for name, about in GLUE.items() if not about.labels] == ["stsb"]
    assert [name for name, about in GLUE.items() if len(about.labels) == 3] == ["mnli"]


def test_a_run_and_its_metrics(bert: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    task = glue("mrpc", bert, save_parquet(tmp_path / "mrpc", small_set("mrpc")))
    run = fit(task, Recipe(r=2, steps=2, batch_size=4, schedule=Linear()), progress=False)
    scores = Evaluator(task)([Variant(run.adapter, name="CoTo")])
    table = metric_table(scores, GLUE["mrpc"].metrics)
    assert list(table.columns) == ["name", "accuracy", "f1"] and table.name.tolist() == ["CoTo"]
    assert table.accuracy[0] == scores.accuracy.item()


def test_from_the_hub_by_default() -> None:
    task = glue("mrpc", "microsoft/deberta-v3-base")
    assert (task.data, task.subset, task.source) == ("nyu-mll/glue", "mrpc", Source("microsoft/deberta-v3-base"))


def test_options_are_passed_on(bert: str) -> None:
    source = Source(bert, dtype="bfloat16")
    task = glue("mnli", source, small_set("mnli"), splits=("train", "validation_mismatched"), max_length=8)
    assert (task.size("test"), task.max_length, task.source) == (9, 8, source)


def test_the_test_set_has_no_labels(bert: str) -> None:
    task = glue("rte", bert, small_set("rte"), splits=("train", "test"))
    with pytest.raises(ValueError, match=r"test\[0\] has label=-1, which means that it has no label"):
        task.batch("test", [0])


def test_a_copy_with_the_classes_in_another_order_is_refused(bert: str) -> None:
    other = datasets.ClassLabel(names=["not_entailment", "entailment"])
    data = small_set("rte")
    for split, rows in data.items():
        data[split] = rows.cast_column("label", datasets.Value("int64")).cast_column("label", other)
    with pytest.raises(ValueError, match=r"train has the classes \('not_entailment', 'entailment'\), and the task has"):
        glue("rte", bert, data).batch("test", [0])


def test_no_such_task() -> None:
    with pytest.raises(ValueError, match=r"name='ax': GLUE has 'cola', 'sst2', 'mrpc'"):
        glue("ax", "bert-base-uncased")
