from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import peft
import pytest
import torch
from tiny_models import adapted, config_of, vit
from torch import Tensor, nn

from coto_lab import Adapter, Run, Task
from coto_lab.adapter import read_json, read_tensors

METHODS = ("LoRA", "DoRA", "HiRA", "LoHa", "OFT", "IA3")
IMAGES = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=METHODS)
def model(request: pytest.FixtureRequest) -> peft.PeftModel:
    return adapted(request.param, vit())


def logits(model: nn.Module) -> Tensor:
    with torch.no_grad():
        return model(pixel_values=IMAGES).logits


def test_attaching_gives_the_same_function_frozen_and_in_evaluation(model: peft.PeftModel) -> None:
    attached = Adapter.from_model(model).attach(vit())
    assert torch.equal(logits(attached), logits(model))
    assert not torch.equal(logits(attached), logits(vit().eval()))
    assert not attached.training and not any(parameter.requires_grad for parameter in attached.parameters())


def test_it_is_a_copy(model: peft.PeftModel) -> None:
    adapter = Adapter.from_model(model)
    before = {key: tensor.clone() for key, tensor in adapter.tensors.items()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert all(torch.equal(before[key], tensor) for key, tensor in adapter.tensors.items())


def test_it_is_saved_as_peft_reads_it(model: peft.PeftModel, tmp_path: Path) -> None:
    Adapter.from_model(model).save(tmp_path)
    assert torch.equal(logits(peft.PeftModel.from_pretrained(vit(), tmp_path).eval()), logits(model))


def test_it_reads_what_peft_saved(model: peft.PeftModel, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    adapter, expected = Adapter.load(tmp_path), Adapter.from_model(model)
    assert adapter.tensors.keys() == expected.tensors.keys()
    assert torch.equal(logits(adapter.attach(vit())), logits(model))


def test_saving_and_loading_is_the_identity(model: peft.PeftModel, tmp_path: Path) -> None:
    adapter = Adapter.from_model(model)
    adapter.save(tmp_path)
    again = Adapter.load(tmp_path)
    assert again.config == adapter.config
    assert all(torch.equal(again.tensors[key], tensor) for key, tensor in adapter.tensors.items())


def test_an_adapter_of_other_shapes_or_names_is_refused_and_nothing_changes(runs: tuple[Run, Run], tiny_task: Task) -> None:
    model = runs[0].adapter.attach(tiny_task.load_base())
    before = Adapter.from_model(model).tensors
    other_rank = peft.LoraConfig(r=3, target_modules=["q_proj", "v_proj"])
    for stranger in (
        Adapter.from_model(peft.get_peft_model(tiny_task.load_base(), config_of("LoRA", ["q_proj"]))),
        Adapter.from_model(peft.get_peft_model(tiny_task.load_base(), other_rank)),
        replace(runs[0].adapter, tensors=dict(list(runs[0].adapter.tensors.items())[1:])),
    ):
        with pytest.raises(ValueError, match=r"does not fit the model \(\d+ tensors differ, first base_model"):
            stranger.copy_to(model)
        assert all(torch.equal(before[key], tensor) for key, tensor in Adapter.from_model(model).tensors.items())


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"\xff\xfe not text")
    for read, kind in ((read_json, "JSON"), (read_tensors, "safetensors")):
        with pytest.raises(ValueError, match=f"{path}' cannot be read as {kind}"):
            read(path)
        with pytest.raises(ValueError, match=f"{tmp_path}/missing' cannot be read as {kind}"):
            read(tmp_path / "missing")
