"""The task that a command line names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_hub_models import save_causal

from coto_lab.report.data import named_task
from coto_lab.tasks.hub.causal import SupervisedFineTuning
from coto_lab.tasks.hub.choices import MultipleChoice
from coto_lab.tasks.hub.clip import FewShotCLIP
from coto_lab.tasks.hub.images import ImageClassification
from coto_lab.tasks.hub.sequence import SequenceClassification


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    """A folder whose configuration names a base model."""
    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "some/model"}))
    return tmp_path


def test_embedded_tasks_are_known_by_name(adapter: Path) -> None:
    assert named_task("digits", None, None, [adapter], {}).name == "digits"
    assert named_task("strings/rotate-back", None, None, [adapter], {}).name == "strings/rotate-back"


def test_data_sets_of_the_hub_with_their_columns(adapter: Path) -> None:
    """Making such a task reads nothing."""
    glue = named_task("glue/mrpc", None, None, [adapter], {"max_length": 64})
    assert isinstance(glue, SequenceClassification)
    assert (glue.name, glue.source.name, glue.max_length) == ("glue/mrpc", "some/model", 64)
    options = {
        "text": ("question", "answer"),
        "label": "kind",
        "splits": ("train", "test"),
        "dtype": "bfloat16",
        "revision": "v1",
    }
    texts = named_task("some/data", "other/model", "sequence", [adapter], options)
    assert isinstance(texts, SequenceClassification) and texts.text == ("question", "answer")
    assert (texts.source.name, texts.source.dtype, texts.source.revision) == ("other/model", "bfloat16", "v1")
    kinds = {"images": ImageClassification, "clip": FewShotCLIP, "causal": SupervisedFineTuning}
    for kind, expected in kinds.items():
        assert isinstance(named_task("some/data", None, kind, [adapter], {"subset": "main"}), expected)
    assert isinstance(named_task("arc-easy", None, "choices", [adapter], {}), MultipleChoice)


def test_a_model_in_a_folder(adapter: Path, tmp_path: Path) -> None:
    model = save_causal(tmp_path / "llama", layers=2)
    task = named_task("some/data", model, "causal", [adapter], {"prompt": "question", "chat": False})
    assert isinstance(task, SupervisedFineTuning) and task.load_base().config.num_hidden_layers == 2 and not task.chat


def test_bad_input(adapter: Path) -> None:
    bad = [
        (("digits", "some/model", None, {}), "--data digits is a task with its own model and columns: leave out --model"),
        (("digits", None, "sequence", {}), "leave out --task"),
        (("strings/rotate-back", None, None, {"chat": False}), "leave out --no-chat"),
        (("strings/nothing", None, None, {}), "no such task"),
        (("some/data", None, None, {}), "say with --task what kind of data set it is: sequence, images, clip, causal, choices"),
        (("glue/nothing", None, None, {}), "GLUE has 'cola'"),
        (
            ("some/data", None, "images", {"max_length": 3}),
            "--max-length: a task of the kind 'images' has no such column or setting",
        ),
        (("some/data", None, "causal", {"text": ("a",)}), "--text: a task of the kind 'causal' has no such"),
        (("some/data", None, "sequence", {"dtype": "float8"}), "dtype='float8'"),
        (("nothing", None, "choices", {}), "questions='nothing'"),
    ]
    for (data, model, kind, options), message in bad:
        with pytest.raises(ValueError, match=message.replace("(", r"\(")):
            named_task(data, model, kind, [adapter], options)
    (adapter / "adapter_config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"does not name the base model .*: give it with --model"):
        named_task("some/data", None, "sequence", [adapter], {})
