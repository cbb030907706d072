"""Texts to classes and to numbers, by a small model of each architecture, end to end."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import datasets
import peft
import pytest
import torch
import transformers
from tiny_classifiers import TEXT_MODELS, equal, save_parquet, save_text_model, text_data, word_tokenizer
from tiny_hub_models import save
from torch.nn import functional as F

from coto_lab import Adapter, Evaluator, Linear, Recipe, Variant, fit, fit_many, merge, prune, shapley
from coto_lab.tasks.check import check_task
from coto_lab.tasks.hub.sequence import SequenceClassification
from coto_lab.tasks.hub.source import Source

RECIPE = Recipe(r=2, alpha=6, steps=6, batch_size=8, lr=3e-3)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_parquet(tmp_path_factory.mktemp("texts"), text_data())


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_text_model(tmp_path_factory.mktemp("bert"), "bert")


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory):
    """Where datasets keeps what it read."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
        yield


def logits(model: torch.nn.Module, task: SequenceClassification) -> torch.Tensor:
    with torch.no_grad():
        return task.predict(model.eval(), task.batch("test", range(task.size("test"))))


@pytest.mark.parametrize("kind", TEXT_MODELS)
def test_from_a_folder_to_an_adapter_that_stock_peft_loads(kind: str, data: str, tmp_path: Path) -> None:
    task = SequenceClassification(save_text_model(tmp_path / "model", kind), data, text="sentence")
    lora, coto = (fit(task, recipe, progress=False) for recipe in (RECIPE, replace(RECIPE, schedule=Linear())))
    evaluator = Evaluator(task)
    scores = evaluator([Variant(lora.adapter), Variant(coto.adapter)])
    assert scores.values["prediction"].shape == scores.values["label"].shape == (2, 40)
    assert coto.history.mask[0].logical_not().any() or coto.history.mask[1].logical_not().any()

    started = task.load_base()
    for run in (lora, coto):  # the head trains in every step of both, and at the recipe's rate: Adam's steps have this length
        whole = run.adapter.apart()[1]
        moved = [(tensor - started.get_parameter(key)).abs().max() for key, tensor in whole.items()]
        assert min(moved) > 0 and RECIPE.lr < max(moved) < RECIPE.lr * RECIPE.steps

    coto.save(tmp_path / "run")
    stock = peft.PeftModel.from_pretrained(task.load_base(), tmp_path / "run")
    ours = coto.adapter.attach(task.load_base())
    assert torch.equal(logits(stock, task), logits(ours, task))
    losses = F.cross_entropy(logits(stock, task).double(), task.batch("test", range(40))["labels"])
    assert scores.loss[1].item() == pytest.approx(losses.item(), rel=1e-6)

    # None is the base model with the trained head, and no adapter.
    base = task.load_base()
    base.load_state_dict(base.state_dict() | coto.adapter.apart()[1])
    patterns = prune(task, coto, evaluator=evaluator)
    expected = F.cross_entropy(logits(base, task).double(), task.batch("test", range(40))["labels"])
    assert patterns.patterns[-1] == "none" and patterns.loss[-1].item() == pytest.approx(expected.item(), rel=1e-6)
    assert patterns.loss[0].item() == pytest.approx(scores.loss[1].item(), rel=1e-6)


def test_shapley_s_empty_coalition_is_the_base_with_the_trained_head(bert: str, data: str) -> None:
    task = SequenceClassification(bert, data, text="sentence")
    adapter = fit(task, RECIPE, progress=False).adapter
    empty = Evaluator(task)([Variant(adapter, torch.zeros(3, dtype=torch.bool))])
    values = shapley(task, adapter)
    assert values.v_empty == empty.accuracy.item()
    assert values.values.sum().item() == pytest.approx(values.v_full - values.v_empty)


def test_regression(bert: str, data: str) -> None:
    task = SequenceClassification(bert, data, text=("sentence", "sentence2"), label="score", regression=True)
    check_task(task)
    assert task.classes == () and task.skeleton().classifier.weight.shape == (1, 32)
    batch = task.batch("test", [0, 1, 2])
    prediction = torch.tensor([0.25, 2.0, 1.0])
    batch["labels"] = torch.tensor([0.0, 0.5, 1.5])
    assert task.loss(prediction, batch).tolist() == [0.0625, 2.25, 0.25]
    measured = {name: value.tolist() for name, value in task.measure(prediction, batch).items()}
    assert measured["correct"] == [True, False, True] and measured["loss"] == [0.0625, 2.25, 0.25]
    assert (measured["prediction"], measured["label"]) == ([0.25, 2.0, 1.0], [0.0, 0.5, 1.5])
    run = fit(task, replace(RECIPE, steps=20), progress=False)
    assert run.history.loss[-4:].mean() < run.history.loss[:4].mean()
    assert Evaluator(task)([Variant(run.adapter)]).values["prediction"].unique().numel() > 20
    assert task.show("test", [0])[0].answer in ("0", "1", "2", "3", "4", "5", "6")


def test_a_batch_is_padded_to_its_longest_text_which_changes_nothing(bert: str, data: str) -> None:
    task = SequenceClassification(bert, data, text=("sentence", "sentence2"))
    model = task.load_base().eval()
    together = task.batch("test", range(20))
    alone = [task.batch("test", [i]) for i in range(20)]
    assert len({batch["input_ids"].shape[1] for batch in alone}) > 1
    assert together["input_ids"].shape[1] == max(batch["input_ids"].shape[1] for batch in alone)
    with torch.no_grad():
        found, expected = task.predict(model, together), torch.cat([task.predict(model, batch) for batch in alone])
    torch.testing.assert_close(found, expected)
    assert together["token_type_ids"].max() == 1, "the second text of a pair"
    example = task.show("test", [3])[0]
    row = text_data()["validation"][3]
    assert example.text == f"{row['sentence']}\n{row['sentence2']}" and example.answer == task.classes[row["label"]]


def test_long_texts_are_cut(bert: str, data: str) -> None:
    short = SequenceClassification(bert, data, text="sentence", max_length=4)
    assert short.batch("train", range(10))["input_ids"].shape == (10, 4)
    assert SequenceClassification(bert, data, text="sentence").longest == 40
    with pytest.raises(ValueError, match=r"max_length=41: model .* reads at most 40 tokens"):
        SequenceClassification(bert, data, text="sentence", max_length=41).batch("train", [0])


def test_a_trained_head_stays_as_it_is(data: str, tmp_path: Path) -> None:
    folder = save_text_model(tmp_path, "roberta", "RobertaForSequenceClassification")
    task = SequenceClassification(folder, data, text="sentence")
    assert task.modules_to_save == ()
    adapter = fit(task, RECIPE, progress=False).adapter
    assert all("lora_" in key for key in adapter.tensors)
    whole = replace(task, new_layers=("classifier",))
    assert equal(whole.load_base(), task.load_base())  # it begins as it was
    assert fit(whole, RECIPE, progress=False).adapter.apart()[1].keys() == {
        f"classifier.{layer}.{kind}" for layer in ("dense", "out_proj") for kind in ("weight", "bias")
    }


def test_many_adapters_are_those_of_fit(bert: str, data: str) -> None:
    """Heads cannot share rows, so each recipe trains by itself."""
    task = SequenceClassification(bert, data, text="sentence")
    recipes = [replace(RECIPE, steps=2, seed=seed) for seed in range(2)]
    for run, recipe in zip(fit_many(task, recipes, n_jobs=1, progress=False), recipes, strict=True):
        expected = fit(task, recipe, progress=False).adapter.tensors
        assert all(torch.equal(run.adapter.tensors[key], expected[key]) for key in expected | run.adapter.tensors)


def test_fusion_averages_heads_too_and_an_ensemble_is_refused(bert: str, data: str) -> None:
    task = SequenceClassification(bert, data, text="sentence")
    first, second = (fit(task, replace(RECIPE, seed=seed), progress=False).adapter for seed in range(2))
    fused = merge([first, second], weights=[0.25, 0.75])
    key = "classifier.weight"
    expected = 0.25 * first.apart()[1][key] + 0.75 * second.apart()[1][key]
    torch.testing.assert_close(fused.apart()[1][key], expected)
    assert Evaluator(task)([Variant(fused), Variant(first), Variant(second)]).loss.isfinite().all()
    with pytest.raises(ValueError, match=r"this rule mixes updates ΔW, and .*classifier.*is no update.*Use how='fuse'"):
        merge([first, second], "ensemble")


def test_in_half_precision_with_checkpointing(bert: str, data: str) -> None:
    task = SequenceClassification(Source(bert, dtype="bfloat16", checkpointing=True), data, text="sentence")
    run = fit(task, replace(RECIPE, schedule=Linear(), steps=20), progress=False)
    assert {tensor.dtype for tensor in run.adapter.tensors.values()} == {torch.float32}
    assert run.history.loss[-5:].mean() < run.history.loss[:5].mean()
    variants = [Variant(run.adapter), Variant(run.adapter, torch.zeros(3, dtype=torch.bool))]
    assert Evaluator(task)(variants).loss.isfinite().all()


def test_making_a_task_reads_nothing_and_estimates_need_the_configuration_alone(bert: str, tmp_path: Path) -> None:
    SequenceClassification("nobody/has-this", "nor/that", text="sentence")
    source = Source(save(tmp_path, transformers.AutoConfig.from_pretrained(bert)))
    task = SequenceClassification(source, "nor/that", text="sentence", labels=("a", "b", "c"))
    assert task.classes == ("a", "b", "c") and task.skeleton().classifier.weight.is_meta
    assert (task.target_modules, task.modules_to_save) == (("query", "key", "value"), ("classifier",))
    assert task.name == "nor/that"


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"model": 3}, TypeError, r"model=3: give the name of a model, or a Source"),
        ({"text": ()}, ValueError, r"text=\(\): name one column of texts, or two of pairs"),
        ({"text": 3}, ValueError, "text=3: name one column of texts, or two of pairs"),
        ({"text": ("a", 3)}, ValueError, r"text=\('a', 3\): name one column of texts"),
        ({"text": ("a", "b", "c")}, ValueError, r"text=\('a', 'b', 'c'\): name one column"),
        ({"max_length": 1}, ValueError, "max_length=1: must be a whole number, at least 2"),
        ({"labels": "ab"}, ValueError, "labels='ab': give a tuple of names"),
        ({"labels": 3}, ValueError, "labels=3: give a tuple of names"),
        ({"targets": ("query", 3)}, ValueError, r"targets=\('query', 3\): give a tuple of names"),
        ({"new_layers": 3}, ValueError, "new_layers=3: give a tuple of names"),
        ({"labels": ("a", "a")}, ValueError, r"labels=\('a', 'a'\): 'a' is there 2 times"),
        ({"targets": "query"}, ValueError, "targets='query': give a tuple of names"),
        ({"new_layers": "classifier"}, ValueError, "new_layers='classifier': give a tuple of names"),
        ({"splits": "train"}, ValueError, "splits='train': give two names"),
        ({"splits": ("train",)}, ValueError, r"splits=\('train',\): give two names"),
        (
            {"labels": ("a", "b"), "regression": True},
            ValueError,
            r"labels=\('a', 'b'\): a task with regression=True has no classes",
        ),
    ],
)
def test_bad_settings_are_refused_at_once(options: dict, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        SequenceClassification(**{"model": "a", "data": "b", "text": "sentence"} | options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"text": "words"}, "has no column 'words'.*'sentence', 'sentence2', 'label', 'score'"),
        ({"label": "target"}, "has no column 'target'.*'sentence'"),
        ({"splits": ("train", "test")}, "has no split 'test'.*'train', 'validation'"),
        ({"label": "score"}, "the column 'score' holds .*regression=True"),
        ({"labels": ("negative",)}, r"has label=1, and the head has 1 classes \(negative\)"),
        ({"text": "label"}, "has label=.*: it must be a text"),
        (
            {"new_layers": ("classifier", "score")},
            r"has modules_to_save=\('classifier', 'score'\), and its base model no module whose name ends with 'score'",
        ),
        ({"new_layers": ("nothing",)}, r"has no fitting weights for classifier, .*new_layers=\('classifier',\)"),
        ({"targets": ("query", "nothing")}, r"has no layer whose name ends with 'nothing'.*'query', 'key', 'value', 'dense'"),
        ({"new_layers": ()}, "has no fitting weights for classifier"),
    ],
)
def test_data_and_layers_that_do_not_fit_are_refused_before_training(options: dict, said: str, bert: str, data: str) -> None:
    task = SequenceClassification(**{"model": bert, "data": data, "text": "sentence"} | options)
    with pytest.raises(ValueError, match=said):
        fit(task, RECIPE, progress=False)


def test_examples_without_labels_are_refused_with_advice(bert: str) -> None:
    data = text_data(8, 8)
    unlabelled = data["validation"].map(lambda row: {"label": -1}, features=data["validation"].features)
    task = SequenceClassification(bert, datasets.DatasetDict(train=data["train"], validation=unlabelled), text="sentence")
    with pytest.raises(ValueError, match=r"test\[0\] has label=-1, which means that it has no label\. .*'validation'"):
        fit(task, RECIPE, progress=False)


def test_an_adapter_of_another_head_is_refused(bert: str, data: str) -> None:
    task = SequenceClassification(bert, data, text="sentence")
    adapter = fit(task, replace(RECIPE, steps=1), progress=False).adapter
    wider = replace(task, labels=("a", "b", "c"))
    with pytest.raises(ValueError, match=r"does not fit the model .*classifier"):
        Evaluator(wider)([Variant(Adapter(adapter.config, adapter.tensors))])


def test_a_task_goes_to_another_process(bert: str, data: str) -> None:
    task = SequenceClassification(bert, data, text="sentence")
    batch = task.batch("train", [3, 1])
    again = pickle.loads(pickle.dumps(task))
    assert all(torch.equal(column, again.batch("train", [3, 1])[name]) for name, column in batch.items())
    assert equal(again.load_base(), task.load_base())


def test_a_pad_token_is_needed(bert: str, data: str, tmp_path: Path) -> None:
    tokenizer = word_tokenizer()
    tokenizer.pad_token = None
    folder = save(tmp_path, transformers.BertModel.from_pretrained(bert), tokenizer)
    with pytest.raises(ValueError, match="has no padding token"):
        fit(SequenceClassification(folder, data, text="sentence"), RECIPE, progress=False)
