from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_diffusion import tiny_diffuser

from coto_lab import attach_gates
from coto_lab.adapters.peft_model import add_adapter
from coto_lab.tasks.diffuser import WEIGHTS, load_diffuser, load_noise_schedule
from coto_lab.training.recipe import Recipe


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_diffuser(tmp_path / "tiny")


def test_the_embedded_model_has_a_gate_for_each_of_its_eight_blocks() -> None:
    model = add_adapter(load_diffuser(), Recipe(r=2).peft_config(("to_q", "to_k", "to_v", "to_out.0")))
    gates = attach_gates(model)
    assert len(gates) == 8
    assert len(gates.layers) == 32
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_two_copies_share_nothing(folder: Path) -> None:
    first, second = load_diffuser(folder), load_diffuser(folder)
    places = [{parameter.data_ptr() for parameter in model.parameters()} for model in (first, second)]
    assert not places[0] & places[1]


def test_a_copy_in_training_drops_no_labels(folder: Path) -> None:
    model = load_diffuser(folder).train()
    state = torch.random.get_rng_state()
    arguments = {"timestep": torch.full((64,), 500), "class_labels": torch.arange(64) % 36}
    images = torch.zeros(64, 1, 16, 16)
    assert torch.equal(model(images, **arguments).sample, model.eval()(images, **arguments).sample)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_half_precision_comes_back_as_float32(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    save_file({name: tensor.half() for name, tensor in tensors.items()}, folder / WEIGHTS, metadata={"format": "pt"})
    loaded = load_diffuser(folder).state_dict()
    assert all(torch.equal(loaded[name], tensor.half().float()) for name, tensor in tensors.items())


def without_a_tensor(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    tensors.popitem()
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def with_a_nan(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    next(iter(tensors.values())).view(-1)[0] = torch.nan
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def cut(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:1000])


def of_another_width(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"attention_head_dim": 4}))


def without_weights(folder: Path) -> None:
    (folder / WEIGHTS).unlink()


@pytest.mark.parametrize(
    "damage, message",
    [
        (without_a_tensor, "has not the weights of its config.json"),
        (with_a_nan, "has weights that are not finite"),
        (cut, "cannot be loaded"),
        (of_another_width, "cannot be loaded"),
        (without_weights, "cannot be loaded"),
    ],
)
def test_a_damaged_folder_is_refused(folder: Path, damage: object, message: str) -> None:
    damage(folder)
    with pytest.raises(ValueError, match=rf"tiny' {message}.*(?s:.)*python data/make_glyph_diffusion.py"):
        load_diffuser(folder)


def test_pickled_weights_are_not_read(folder: Path) -> None:
    torch.save(load_file(folder / WEIGHTS), folder / "diffusion_pytorch_model.bin")
    (folder / WEIGHTS).unlink()
    with pytest.raises(ValueError, match="cannot be loaded"):
        load_diffuser(folder)


def test_the_noise_schedule_is_read_from_the_folder(folder: Path) -> None:
    schedule = load_noise_schedule(folder)
    assert schedule.config.prediction_type == "v_prediction"
    (folder / "scheduler_config.json").write_text("{")
    with pytest.raises(ValueError, match="has no noise schedule"):
        load_noise_schedule(folder)
