"""The adapters of a report get names, and are compared with the base before anything is scored."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import peft
import pytest
from tiny_tasks import bert_task, headed_task

from coto_lab import Adapter, Run, Task
from coto_lab.report.subject import open_subjects


def test_names_tell_folders_apart(tiny_task: Task, runs: tuple[Run, Run], tmp_path: Path) -> None:
    folders = [runs[0].save(tmp_path / place) for place in ("a/run", "b/run", "alone")]
    found = open_subjects([*folders, folders[0], runs[0], runs[1]], tiny_task)
    assert [subject.name for subject in found] == ["a/run 1", "b/run", "alone", "a/run 2", "adapter 1", "adapter 2"]
    assert [subject.name for subject in open_subjects({"mine": folders[2]}, tiny_task)] == ["mine"]
    assert [subject.name for subject in open_subjects(str(folders[2]), tiny_task)] == ["alone"]
    assert found[0].run is not None and found[0].note == "" and found[0].parameters == 512


def test_an_adapter_of_an_unknown_base_is_noted(tiny_task: Task, runs: tuple[Run, Run]) -> None:
    (found,) = open_subjects(replace(runs[0].adapter, base=None), tiny_task)
    assert found.adapter.base == tiny_task.base and found.run is None
    assert "does not say by a hash which base model it was trained on" in found.note


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({}, "LoRA"),
        ({"use_dora": True}, "DoRA"),
        ({"use_rslora": True}, "LoRA (rank-stabilised)"),
        ({"peft_type": "HIRA"}, "HiRA"),
        ({"peft_type": "LN_TUNING"}, "LN_TUNING"),
    ],
)
def test_methods_have_the_names_that_people_use(
    settings: dict[str, object], name: str, tiny_task: Task, runs: tuple[Run, Run]
) -> None:
    adapter = replace(runs[0].adapter, config=runs[0].adapter.config | settings)
    assert open_subjects(adapter, tiny_task)[0].method == name


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bias": "lora_only"}, r"trained biases \(bias='lora_only'\)"),
        ({"bias": "all", "modules_to_save": ["classifier"]}, r"trained biases \(bias='all'\)"),
        ({"trainable_token_indices": [1, 2]}, r"trained vectors of tokens \(trainable_token_indices\)"),
        ({"init_lora_weights": "olora"}, r"a start that writes into the base's weights \(init_lora_weights='olora'\)"),
    ],
)
def test_what_no_gate_closes_is_refused_before_anything_is_scored(settings: dict[str, object], message: str) -> None:
    task = bert_task(0.0)
    adapter = Adapter.from_model(
        peft.get_peft_model(task.load_base(), peft.LoraConfig(r=2, target_modules=["query"], **settings))
    )
    with pytest.raises(ValueError, match=f"adapter 'mine' has {message}. No gate closes that"):
        open_subjects({"mine": adapter}, task)


def test_an_adapter_without_the_tasks_new_head_is_refused() -> None:
    task = headed_task()

    def adapter(**settings: object) -> Adapter:
        config = peft.LoraConfig(r=2, target_modules=["query"], **settings)
        return Adapter.from_model(peft.get_peft_model(task.load_base(), config))

    with pytest.raises(
        ValueError, match=r"adapter 'mine' does not hold 'classifier', which is new .*modules_to_save=\['classifier'\]"
    ):
        open_subjects({"mine": adapter()}, task)
    assert open_subjects(adapter(task_type="SEQ_CLS"), task)[0].whole_layers == ("classifier",)


def test_all_ranks_of_an_adapter_and_configurations_that_are_wrong(tiny_task: Task, tmp_path: Path) -> None:
    config = peft.LoraConfig(r=4, target_modules=["q_proj"], rank_pattern={"0.attention.q_proj": 2}, alpha_pattern={"1.*": 3})
    adapter = Adapter.from_model(peft.get_peft_model(tiny_task.load_base(), config))
    (found,) = open_subjects(adapter, tiny_task)
    assert (found.rank, found.alpha) == ("2, 4", "3, 8")
    with pytest.raises(ValueError, match="adapter 'mine': r is '4' in its configuration, and must be a number"):
        open_subjects({"mine": Adapter(adapter.config | {"r": "4"}, adapter.tensors)}, tiny_task)
    adapter.save(tmp_path)
    (tmp_path / "adapter_model.safetensors").rename(tmp_path / "adapter_model.bin")
    with pytest.raises(ValueError, match=r"has its weights in adapter_model.bin, a pickle file, which is never opened"):
        open_subjects({"mine": tmp_path}, tiny_task)
