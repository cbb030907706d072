"""What padding, positions and missing texts must not do to a sequence classifier, whatever its tokenizer's settings."""

from __future__ import annotations

import json
from pathlib import Path

import datasets
import pytest
import torch
import transformers
from tiny_classifiers import equal, save_text_model, text_data, word_tokenizer
from tiny_hub_models import byte_tokenizer, save, save_causal
from tiny_tasks import seeded

from coto_lab import Linear, Recipe, fit
from coto_lab.tasks.hub.sequence import SequenceClassification
from coto_lab.tasks.hub.source import Source


def assert_padding_changes_nothing(task: SequenceClassification) -> None:
    model = task.load_base().eval()
    with torch.no_grad():
        together = task.predict(model, task.batch("test", range(8)))
        alone = torch.cat([task.predict(model, task.batch("test", [i])) for i in range(8)])
    assert len({task.batch("test", [i])["input_ids"].shape[1] for i in range(8)}) > 1
    torch.testing.assert_close(together, alone)


def save_xlnet(folder: Path) -> str:
    sizes = {"d_model": 32, "n_layer": 2, "n_head": 2, "d_inner": 48, "vocab_size": 14, "pad_token_id": 0}
    config = transformers.XLNetConfig(**sizes)
    tokenizer = word_tokenizer("xlnet")
    tokenizer.model_max_length = int(1e30)
    return save(folder, seeded(lambda: transformers.XLNetLMHeadModel(config))(), tokenizer)


@pytest.mark.parametrize("pad", [None, 0])
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("kind", ["llama", "qwen2", "gpt2"])
def test_a_model_that_looks_at_the_last_token_knows_the_padding(kind: str, side: str, pad: int | None, tmp_path: Path) -> None:
    """The tokenizer pads with its end of a text (Qwen's with another token), and the configuration names a third or none."""
    tokenizer = byte_tokenizer(chat=None, padding_side=side)
    sizes = {"n_embd": 32, "n_layer": 2, "n_head": 2} if kind == "gpt2" else {}
    folder = save_causal(tmp_path, kind, tokenizer, layers=2, pad_token_id=pad, **sizes)
    targets = ("c_attn",) if kind == "gpt2" else None
    task = SequenceClassification(folder, text_data(8, 8), text="sentence", targets=targets)
    assert task.load_base().config.pad_token_id == task.tokenizer.pad_token_id == (0 if kind == "qwen2" else 2)
    assert task.skeleton().config.pad_token_id is not None and task.modules_to_save == ("score",)
    assert_padding_changes_nothing(task)
    if kind != "gpt2":  # PEFT warns of its layers
        fit(task, Recipe(r=2, steps=2, batch_size=4, schedule=Linear()), progress=False)


def test_texts_are_padded_and_cut_at_their_end_whatever_the_tokenizer_says(tmp_path: Path) -> None:
    folder = save_text_model(tmp_path, "bert")
    expected = SequenceClassification(folder, text_data(8, 8), text="sentence", max_length=4)
    wanted = expected.batch("test", range(8))
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    settings |= {"padding_side": "left", "truncation_side": "left"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    assert Source(folder).tokenizer().padding_side == "left"
    task = SequenceClassification(folder, text_data(8, 8), text="sentence", max_length=4)
    for name, column in wanted.items():
        assert torch.equal(task.batch("test", range(8))[name], column)
    assert_padding_changes_nothing(SequenceClassification(folder, text_data(8, 8), text="sentence"))


def test_xlnet_pads_at_the_beginning_and_has_no_longest_text(tmp_path: Path) -> None:
    data = text_data(8, 8)
    task = SequenceClassification(save_xlnet(tmp_path), data, text="sentence", targets=("layer_1",), max_length=700)
    assert task.longest == 700
    assert_padding_changes_nothing(task)


def test_roberta_numbers_its_positions_from_the_one_after_the_padding(tmp_path: Path) -> None:
    folder = save_text_model(tmp_path, "roberta", pad_token_id=1)
    tokenizer = word_tokenizer("roberta")
    tokenizer.model_max_length = int(1e30)
    save(tmp_path, tokenizer)
    rows = datasets.Dataset.from_dict({"text": ["good " * 60, "bad"], "label": ["a", "b"]})
    data = datasets.DatasetDict(train=rows, validation=rows)
    task = SequenceClassification(folder, data)
    assert task.longest == 38
    batch = task.batch("test", [0, 1])
    assert batch["input_ids"].shape == (2, 38) and task.predict(task.load_base(), batch).isfinite().all()
    with pytest.raises(ValueError, match=r"max_length=39: model .* reads at most 38 tokens"):
        SequenceClassification(folder, data, max_length=39).batch("test", [0])


@pytest.mark.parametrize(("split", "name"), [("train", "train"), ("validation", "test")])
def test_a_missing_text_is_refused_before_training(split: str, name: str, tmp_path: Path) -> None:
    data = text_data()
    columns = data[split].to_dict()
    columns["sentence"][30] = None
    data[split] = datasets.Dataset.from_dict(columns, features=data[split].features).select(range(5, 40))
    task = SequenceClassification(save_text_model(tmp_path, "bert"), data, text="sentence")
    with pytest.raises(ValueError, match=rf"{name}\[25\] has sentence=None, so there is nothing to classify\. Leave such"):
        task.size("train")


@pytest.mark.parametrize(
    ("labels", "names", "said"),
    [
        (None, ["positive", "negative"], r"data for test has the classes \('positive', 'negative'\), and the task has"),
        (("positive", "negative"), ["negative", "positive"], r"data for train has the classes \('negative', 'positive'\)"),
    ],
    ids=["of the two splits", "of labels="],
)
def test_classes_in_two_orders_are_refused(labels: tuple | None, names: list[str], said: str, tmp_path: Path) -> None:
    data = text_data(8, 8)
    feature = datasets.ClassLabel(names=names)
    data["validation"] = data["validation"].cast_column("label", datasets.Value("int64")).cast_column("label", feature)
    task = SequenceClassification(save_text_model(tmp_path, "bert"), data, text="sentence", labels=labels)
    with pytest.raises(ValueError, match=said):
        task.batch("train", [0])


def test_a_trained_head_in_another_order_is_refused_and_names_as_strings_follow_it(tmp_path: Path) -> None:
    names = {0: "POSITIVE", 1: "NEGATIVE"}
    folder = save_text_model(tmp_path, "bert", "BertForSequenceClassification", id2label=names)
    data = text_data(8, 8)
    task = SequenceClassification(folder, data, text="sentence")
    with pytest.raises(ValueError, match=r"the head of model .* has the classes \('POSITIVE', 'NEGATIVE'\), and the task has"):
        fit(task, Recipe(steps=1, batch_size=2), progress=False)
    assert SequenceClassification(folder, data, text="sentence", new_layers=("classifier",)).load_base()
    order = data["train"].features["label"].names
    spoken = data.map(lambda row: {"answer": order[row["label"]]})
    task = SequenceClassification(folder, spoken, text="sentence", label="answer", labels=("positive", "negative"))
    assert task.modules_to_save == ()
    assert task.batch("test", range(8))["labels"].tolist() == [1 - label for label in data["validation"]["label"]]


def test_folders_as_paths(tmp_path: Path) -> None:
    folder = save_text_model(tmp_path / "model", "bert")
    (tmp_path / "data").mkdir()
    for split, rows in text_data(8, 8).items():
        rows.to_parquet(tmp_path / "data" / f"{split}.parquet")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
        task = SequenceClassification(Path(folder), tmp_path / "data", text="sentence")
        assert (task.size("train"), task.name) == (8, "data")
    assert equal(task.load_base(), SequenceClassification(folder, text_data(8, 8), text="sentence").load_base())
