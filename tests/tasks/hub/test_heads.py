"""Targets and new layers, read off configurations."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers
from tiny_classifiers import IMAGE_MODELS, TEXT_MODELS, save_image_model, save_text_model
from tiny_hub_models import save

from coto_lab.tasks.hub.heads import attention_targets, new_layers
from coto_lab.tasks.hub.source import Source

TEXT, IMAGE = transformers.AutoModelForSequenceClassification, transformers.AutoModelForImageClassification
TARGETS = {
    "bert": ("query", "key", "value"),
    "roberta": ("query", "key", "value"),
    "deberta-v2": ("query_proj", "key_proj", "value_proj"),
    "modernbert": ("Wqkv",),
}
NEW = {"deberta-v2": ("pooler", "classifier")}


def only_configuration(folder: str) -> Source:
    """The model without its weights."""
    (Path(folder) / "model.safetensors").unlink()
    return Source(folder)


@pytest.mark.parametrize("kind", TEXT_MODELS)
def test_texts(kind: str, tmp_path: Path) -> None:
    source = only_configuration(save_text_model(tmp_path, kind))
    assert attention_targets(source.skeleton(TEXT)) == TARGETS[kind]
    assert new_layers(source, TEXT, source.config()) == NEW.get(kind, ("classifier",))


@pytest.mark.parametrize("kind", IMAGE_MODELS)
def test_images(kind: str, tmp_path: Path) -> None:
    source = only_configuration(save_image_model(tmp_path, kind))
    assert attention_targets(source.skeleton(IMAGE)) in (("query", "key", "value"), ("q_proj", "k_proj", "v_proj"))
    assert new_layers(source, IMAGE, source.config()) == ("classifier",)


@pytest.mark.parametrize(("labels", "expected"), [(3, ()), (2, ("classifier",)), (1, ("classifier",))])
def test_a_trained_head_stays_where_it_has_as_many_classes(labels: int, expected: tuple[str, ...], tmp_path: Path) -> None:
    source = only_configuration(save_text_model(tmp_path, "bert", "BertForSequenceClassification", num_labels=3))
    assert new_layers(source, TEXT, source.config(num_labels=labels)) == expected


@pytest.mark.parametrize("architectures", [None, [], ["BertForSomethingOfTheirOwn"]])
def test_a_checkpoint_that_does_not_tell_its_class_has_no_head(architectures: list[str] | None, tmp_path: Path) -> None:
    folder = save_text_model(tmp_path, "bert")
    config = json.loads((tmp_path / "config.json").read_text()) | {"architectures": architectures}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert new_layers(Source(folder), TEXT, Source(folder).config()) == ("classifier",)


def test_layers_of_unknown_names_must_be_named(tmp_path: Path) -> None:
    config = transformers.ResNetConfig(embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], layer_type="basic")
    with torch.random.fork_rng():
        folder = save(tmp_path, transformers.ResNetModel(config))
    with pytest.raises(ValueError, match=r"ResNetForImageClassification has no linear layers whose names say .*targets="):
        attention_targets(Source(folder).skeleton(IMAGE))
