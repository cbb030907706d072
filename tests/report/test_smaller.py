"""A pruned adapter is a folder that PEFT alone loads, and computes what the closed gates gave."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import peft
import pytest
import safetensors.torch
import torch
from tiny_models import METHODS, config_of, randomise, vit
from tiny_tasks import bert_task

from coto_lab import Adapter, attach_gates
from coto_lab.report.smaller import file_size, keep_modules

SETTINGS = {
    "lora": {"layers_to_transform": [0, 1], "layers_pattern": "layer"},
    "dora": {"use_dora": True, "modules_to_save": ["classifier"]},
    "rslora": {"use_rslora": True, "modules_to_save": ["classifier"]},
}
# PEFT and transformers alone: every warning is an error but for the one that PEFT causes in transformers.
ALONE = """
import sys, warnings
from pathlib import Path
warnings.simplefilter("error")
warnings.filterwarnings("ignore", message=".*gradient_checkpointing.*")
import peft, torch, transformers
from safetensors.torch import load_file, save_file
folder = Path(sys.argv[1])
inputs, logits = load_file(folder / "inputs.safetensors"), {}
for name in sys.argv[2:]:
    base = transformers.BertForSequenceClassification.from_pretrained(folder / "base")
    model = peft.PeftModel.from_pretrained(base, folder / name).eval()
    with torch.no_grad():
        logits[name] = model(**inputs).logits
    layers = [key for key, module in model.named_modules() if isinstance(module, peft.tuners.lora.LoraLayer)]
    print(name, len(layers), sorted({key.split(".")[5] for key in layers}))
save_file(logits, folder / "logits.safetensors")
assert "coto_lab" not in sys.modules
"""


@pytest.mark.slow
def test_peft_alone_loads_the_folder_and_gives_the_gated_logits(tmp_path: Path) -> None:
    task = bert_task(0.0)
    task.load_base().save_pretrained(tmp_path / "base")
    inputs = {"input_ids": task.batch("test", range(12))["input_ids"]}
    safetensors.torch.save_file(inputs, tmp_path / "inputs.safetensors")
    expected = {}
    for seed, (name, settings) in enumerate(SETTINGS.items()):
        config = peft.LoraConfig(r=2, lora_alpha=16, target_modules=["query", "value"], **settings)
        model = randomise(peft.get_peft_model(task.load_base(), config), seed)
        adapter = Adapter.from_model(model)
        kept = [module for module in adapter.modules if ".layer.1." in module]
        keep_modules(adapter, kept).save(tmp_path / name)
        with torch.no_grad(), attach_gates(model).only([1]):
            expected[name] = model.eval()(**inputs).logits
    command = [sys.executable, "-c", ALONE, str(tmp_path), *SETTINGS]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:3] == [f"{name} 2 ['1']" for name in SETTINGS]
    found = safetensors.torch.load_file(tmp_path / "logits.safetensors")
    for name, logits in expected.items():
        torch.testing.assert_close(found[name], logits, rtol=0, atol=1e-6)
        assert (logits - expected["lora"]).abs().max() > 1e-3 or name == "lora"


@pytest.mark.parametrize("method", METHODS)
def test_it_computes_what_the_closed_gates_gave(method: str) -> None:
    model = randomise(peft.get_peft_model(vit(), config_of(method)), 1)
    adapter = Adapter.from_model(model)
    kept = [name for name in adapter.modules if ".layers.2." in name]
    smaller = keep_modules(adapter, kept)
    assert smaller.modules == tuple(kept) and len(adapter.modules) == 6
    images = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad(), attach_gates(model.eval()).only([2]):
        expected = model(images).logits
    found = smaller.attach(vit())(images).logits
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    assert file_size(smaller) < file_size(adapter)


def test_the_size_is_that_of_the_file(tmp_path: Path) -> None:
    adapter = Adapter.from_model(peft.get_peft_model(vit(), config_of("LoRA")))
    adapter.save(tmp_path)
    assert file_size(adapter) == (tmp_path / "adapter_model.safetensors").stat().st_size


def test_bad_input() -> None:
    adapter = Adapter.from_model(peft.get_peft_model(vit(), config_of("LoRA")))
    with pytest.raises(ValueError, match="kept is empty: give at least one of its modules"):
        keep_modules(adapter, [])
    with pytest.raises(ValueError, match=r"kept names 'vit\.nothing', which the adapter does not adapt"):
        keep_modules(adapter, [adapter.modules[0], "vit.nothing"])
    biases = Adapter.from_model(peft.get_peft_model(vit(), config_of("LoRA", bias="lora_only")))
    with pytest.raises(
        ValueError, match="cannot be cut into modules: it has a configuration that writes into weights of the base"
    ):
        keep_modules(biases, biases.modules[:1])
    moved = Adapter(adapter.config | {"target_parameters": ["experts.w1"]}, adapter.tensors)
    with pytest.raises(ValueError, match=r"cannot be cut into modules: it has target_parameters=\['experts.w1'\]"):
        keep_modules(moved, moved.modules[:1])


def test_patterns_of_modules_that_are_cut_out_go_with_them() -> None:
    patterns = {"rank_pattern": {r"layers\.0\..*": 3, "2.attention.q_proj": 4}, "alpha_pattern": {"0.attention.q_proj": 9}}
    adapter = Adapter.from_model(peft.get_peft_model(vit(), config_of("LoRA", **patterns)))
    smaller = keep_modules(adapter, [name for name in adapter.modules if ".layers.2." in name])
    assert smaller.config["rank_pattern"] == {"2.attention.q_proj": 4} and smaller.config["alpha_pattern"] == {}
    smaller.attach(vit())
