from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import peft
import pytest
import torch
from safetensors.torch import save_file
from tiny_models import adapted, config_of, randomise, vit, wrap
from torch import Tensor, nn

from coto_lab import Adapter, Run, Task
from coto_lab.ground.files import read_json, read_tensors

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
        with pytest.raises(
            ValueError, match=r"does not fit the model(: its (lora_alpha|r) is| \(\d+ tensors differ, first base_model)"
        ):
            stranger.copy_to(model)
        assert all(torch.equal(before[key], tensor) for key, tensor in Adapter.from_model(model).tensors.items())


def test_an_adapter_is_attached_to_a_bare_base_model_only() -> None:
    adapter = Adapter.from_model(adapted("LoRA"))
    model = adapted("LoRA")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for base in (model, model.get_base_model()):
        with pytest.raises(ValueError, match=r"base already carries an adapter, in .*q_proj. Load the base model again"):
            adapter.attach(base)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"\xff\xfe not text")
    for read, kind in ((read_json, "JSON"), (read_tensors, "safetensors")):
        with pytest.raises(ValueError, match=f"{path}' cannot be read as {kind}"):
            read(path)
        with pytest.raises(ValueError, match=f"{tmp_path}/missing' cannot be read as {kind}"):
            read(tmp_path / "missing")


# --- Its method, its modules, its base ---


@pytest.mark.parametrize("method", METHODS)
def test_it_knows_its_method(method: str) -> None:
    assert type(Adapter.from_model(adapted(method, vit())).method).__name__ == method


def test_it_knows_its_modules_without_a_model(model: peft.PeftModel, tmp_path: Path) -> None:
    expected = tuple(f"vit.layers.{i}.attention.{end}" for i in range(3) for end in ("q_proj", "v_proj"))
    Adapter.from_model(model).save(tmp_path)
    assert Adapter.from_model(model).modules == Adapter.load(tmp_path).modules == expected


def test_modules_of_a_method_without_layers_or_unknown_to_peft() -> None:
    adapter = Adapter.from_model(adapted("LoRA", vit()))
    for peft_type in ("PROMPT_TUNING", "NEWEST", None):
        assert replace(adapter, config={"peft_type": peft_type}).modules == ()


def test_update_is_what_peft_merges(model: peft.PeftModel) -> None:
    adapter, base = Adapter.from_model(model), vit()
    update, merged = adapter.update(base), model.merge_and_unload()
    assert sorted(update) == sorted(adapter.modules)
    for name, change in update.items():
        assert change.abs().max() > 1e-3
        torch.testing.assert_close(base.get_submodule(name).weight + change, merged.get_submodule(name).weight)


def test_the_base_is_read_from_the_run_beside_it(runs: tuple[Run, Run], tmp_path: Path) -> None:
    runs[0].save(tmp_path / "run")
    adapter = Adapter.load(tmp_path / "run")
    assert adapter.base == "tiny base"
    adapter.save(tmp_path / "adapter")
    assert sorted(os.listdir(tmp_path / "adapter")) == ["adapter_config.json", "adapter_model.safetensors"]
    assert Adapter.load(tmp_path / "adapter").base is None


@pytest.mark.parametrize("content", ["{}", '{"base": 3}'])
def test_a_file_of_that_name_without_a_base_tells_none(content: str, tmp_path: Path) -> None:
    Adapter.from_model(adapted("LoRA", vit())).save(tmp_path)
    (tmp_path / "run.json").write_text(content)
    assert Adapter.load(tmp_path).base is None
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(ValueError, match=r"run\.json' cannot be read as JSON"):
        Adapter.load(tmp_path)


# --- Files ---


def test_saving_replaces_two_files_and_no_other(tmp_path: Path) -> None:
    first, second = (Adapter.from_model(randomise(adapted("LoRA").train(), seed=seed)) for seed in (1, 2))
    first.save(tmp_path / "new")
    (tmp_path / "new" / "README.md").write_text("mine")
    second.save(tmp_path / "new")
    loaded = Adapter.load(tmp_path / "new")
    assert all(torch.equal(loaded.tensors[key], tensor) for key, tensor in second.tensors.items())
    assert (tmp_path / "new" / "README.md").read_text() == "mine"
    assert sorted(os.listdir(tmp_path / "new")) == ["README.md", "adapter_config.json", "adapter_model.safetensors"]


def test_a_full_disk_leaves_the_earlier_adapter(tmp_path: Path, full_disk: Callable[[int], AbstractContextManager]) -> None:
    first = Adapter.from_model(adapted("LoRA"))
    first.save(tmp_path)
    before = {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)}
    for n_bytes in (0, 2000):
        with full_disk(n_bytes), pytest.raises(OSError, match=rf"could not write '{tmp_path}': .*Nothing was changed"):
            Adapter.from_model(adapted("DoRA")).save(tmp_path)
    assert {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)} == before


# --- The update as a product -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings", [{}, {"r": 3, "lora_alpha": 0.5}, {"r": 4, "use_rslora": True}, {"lora_dropout": 0.3}], ids=str
)
def test_factors_multiply_to_the_update_that_peft_merges(settings: dict) -> None:
    config = peft.LoraConfig(**{"r": 2, "lora_alpha": 5, "target_modules": ["q_proj", "fc1"]} | settings)
    model = wrap(vit(), config)
    factors, base = Adapter.from_model(model).factors(), vit().state_dict()
    merged = model.merge_and_unload().state_dict()
    names = [f"vit.layers.{i}.{end}" for i in range(3) for end in ("attention.q_proj", "mlp.fc1")]
    assert sorted(factors) == [f"base_model.model.{name}" for name in sorted(names)]
    for name in names:
        a, b = factors[f"base_model.model.{name}"]
        weight = base[f"{name}.weight"]
        assert (a.shape, b.shape) == ((config.r, weight.shape[1]), (weight.shape[0], config.r))
        torch.testing.assert_close(weight + b @ a, merged[f"{name}.weight"])
        assert (b @ a).abs().max() > 0.01


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"use_dora": True}, "use_dora=True, .*lora_magnitude_vector"),
        ({"bias": "lora_only"}, "bias=lora_only"),
        ({"modules_to_save": ["classifier"]}, ".*classifier"),
        ({"rank_pattern": {"q_proj": 3}}, r"rank_pattern=\{'q_proj': 3\}"),
        ({"alpha_pattern": {"q_proj": 3}}, r"alpha_pattern=\{'q_proj': 3\}"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights=pissa"),
        pytest.param(
            {"lora_bias": True},
            "lora_bias=True",
            marks=pytest.mark.filterwarnings("ignore:.*have invalid shape"),  # PEFT of its own
        ),
    ],
    ids=str,
)
def test_updates_that_are_more_than_a_product_of_two_factors_are_refused(settings: dict, message: str) -> None:
    model = wrap(vit(), peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"], **settings))
    with pytest.raises(ValueError, match=f"must be s·BA alone, all of one rank, but this is LORA with {message}"):
        Adapter.from_model(model).factors()


@pytest.mark.parametrize("method", ["HiRA", "LoHa", "LoKr", "OFT", "VeRA", "IA3"])
def test_factors_of_another_method_are_refused(method: str) -> None:
    with pytest.raises(ValueError, match=f"this is {method.upper()}"):
        Adapter.from_model(adapted(method, vit())).factors()


def test_a_rank_that_is_not_that_of_the_configuration_is_refused() -> None:
    adapter = Adapter.from_model(adapted("LoRA", vit()))
    with pytest.raises(
        ValueError, match=r"the configuration says rank r=3, but base_model\.model\.vit\.layers\.0.* has another"
    ):
        replace(adapter, config=adapter.config | {"r": 3}).factors()
    first = next(key for key in adapter.tensors if "lora_B" in key)
    with pytest.raises(ValueError, match="must be s·BA alone"):
        replace(adapter, tensors={key: tensor for key, tensor in adapter.tensors.items() if key != first}).factors()


# --- Bad input, and no trace of it -------------------------------------------------------------------------------------------


def test_attaching_leaves_the_global_random_numbers_alone(model: peft.PeftModel) -> None:
    adapter, base = Adapter.from_model(model), vit()
    before = torch.get_rng_state()
    attached = adapter.attach(base)
    assert torch.equal(before, torch.get_rng_state())
    with torch.random.fork_rng():
        torch.manual_seed(1234)
        again = adapter.attach(vit())
    assert torch.equal(logits(attached), logits(again))


def test_an_adapter_without_tensors_is_refused(tmp_path: Path) -> None:
    adapter = Adapter.from_model(adapted("LoRA", vit()))
    with pytest.raises(ValueError, match=r"tensors=\{\}: this LORA adapter holds no tensors, so it does nothing"):
        replace(adapter, tensors={})
    adapter.save(tmp_path)
    save_file({}, tmp_path / "adapter_model.safetensors")
    with pytest.raises(ValueError, match=rf"{tmp_path}/adapter_model\.safetensors' holds no tensors\. Save the adapter again"):
        Adapter.load(tmp_path)


@pytest.mark.parametrize("kind", [None, 3])
def test_a_folder_without_a_peft_type_is_refused(tmp_path: Path, kind: object) -> None:
    adapter = Adapter.from_model(adapted("LoRA", vit()))
    replace(adapter, config=adapter.config | {"peft_type": kind}).save(tmp_path)
    said = rf"{tmp_path}/adapter_config\.json' is no configuration of a PEFT adapter: peft_type is {kind}\. Give a folder"
    with pytest.raises(ValueError, match=said):
        Adapter.load(tmp_path)


def test_a_method_that_peft_does_not_know_is_named(tmp_path: Path) -> None:
    adapter = Adapter.from_model(adapted("LoRA", vit()))
    replace(adapter, config=adapter.config | {"peft_type": "NOPE"}).save(tmp_path)
    stranger, base = Adapter.load(tmp_path), vit()  # its tensors may be looked at
    for use in (stranger.peft_config, lambda: stranger.attach(base), lambda: stranger.update(base)):
        with pytest.raises(
            ValueError, match=rf"config\['peft_type'\]='NOPE': the installed PEFT {peft.__version__} knows .*LORA"
        ):
            use()
    adapter.attach(base)
