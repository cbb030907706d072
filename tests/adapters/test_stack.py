"""Several adapters on one base: each row computes what a base with that adapter's dense update computes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import peft
import pytest
import torch
from tiny_models import TOKENS, adapted, gpt2, llama, randomise, vit
from torch import Tensor, nn

from coto_lab import Adapter, attach_gates
from coto_lab.adapters.stack import PREFIX, AdapterStack

IMAGES = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def adapter_of(base: nn.Module, seed: int = 0, targets: tuple[str, ...] = ("q_proj", "v_proj"), **settings: object) -> Adapter:
    config = peft.LoraConfig(**{"r": 2, "lora_alpha": 5, "target_modules": list(targets)} | settings)
    return Adapter.from_model(randomise(peft.get_peft_model(base, config), seed))


def dense(base: nn.Module, adapter: Adapter) -> nn.Module:
    """The base with the adapter's updates added to its weights, by the definition."""
    rank, alpha = adapter.config["r"], adapter.config["lora_alpha"]
    scale = alpha / (math.sqrt(rank) if adapter.config["use_rslora"] else rank)
    with torch.no_grad():
        for name, module in base.named_modules():
            a = adapter.tensors.get(f"{PREFIX}{name}.lora_A.weight")
            if a is not None:
                module.weight += scale * adapter.tensors[f"{PREFIX}{name}.lora_B.weight"] @ a
    return base.eval()


def output(model: nn.Module, images: Tensor = IMAGES) -> Tensor:
    with torch.no_grad():
        return model(pixel_values=images).logits


def test_every_row_is_its_adapter_whatever_the_ranks_and_scales() -> None:
    settings: list[dict] = [{}, {"r": 3}, {"r": 1, "lora_alpha": 1.5}, {"r": 4, "use_rslora": True}]
    adapters = [adapter_of(vit(), seed, **kind) for seed, kind in enumerate(settings)]
    rows = AdapterStack(vit().eval(), adapters[0])
    stacks = rows.stack(adapters)
    assert [(a.shape, b.shape) for a, b in stacks] == [((4, 4, 16), (4, 16, 4))] * 6
    rows.hold(stacks)
    found = output(rows.model, IMAGES.repeat(4, 1, 1, 1)).unflatten(0, (4, -1))
    for adapter, logits in zip(adapters, found, strict=True):
        torch.testing.assert_close(logits, output(dense(vit(), adapter)))
    base = output(vit().eval())
    assert all((logits - base).abs().max() > 0.01 for logits in found)
    rows.hold(stacks, torch.tensor([True, False, True, False]))
    found = output(rows.model, IMAGES.repeat(4, 1, 1, 1)).unflatten(0, (4, -1))
    torch.testing.assert_close(found[2], output(dense(vit(), adapters[2])))
    assert torch.equal(found[1], found[3]) and torch.allclose(found[1], base, atol=1e-6)


def test_factors_take_the_type_of_the_base() -> None:
    rows = AdapterStack(vit().double(), adapter_of(vit()))
    assert {tensor.dtype for pair in rows.stack([adapter_of(vit())]) for tensor in pair} == {torch.float64}


@pytest.mark.parametrize("targets", [("q_proj", "v_proj"), ("o_proj", "fc1", "k_proj"), ("fc2",)], ids=str)
def test_names_and_blocks_are_those_of_gates_by_module_also_for_an_adapter_from_disk(
    targets: tuple[str, ...], tmp_path: Path
) -> None:
    adapter_of(vit(12), targets=targets).save(tmp_path)
    adapter = Adapter.load(tmp_path)
    keys = list(adapter.tensors)
    assert keys == sorted(keys), "layers.10 comes before layers.2 here: the order of the file is not that of the model"
    rows, gates = AdapterStack(vit(12), adapter), attach_gates(adapter.attach(vit(12)), by="module")
    assert rows.names == gates.names and rows.blocks == gates.blocks
    assert len(rows) == len(rows.layers) == 12 * len(targets)
    assert [rows.model.get_submodule(name) for name in rows.names] == rows.layers
    for name, (a, _) in zip(rows.names, rows.stack([adapter]), strict=True):
        assert torch.equal(a[0], adapter.tensors[f"{PREFIX}{name}.lora_A.weight"])


def test_a_layer_on_no_block_is_its_own() -> None:
    rows = AdapterStack(vit(1), adapter_of(vit(1), targets=("q_proj", "classifier")))
    assert rows.blocks == ("vit.layers.0", "classifier")


def test_the_base_is_frozen_and_the_global_random_numbers_untouched() -> None:
    adapter, base = adapter_of(vit()), vit()
    before = torch.get_rng_state()
    rows = AdapterStack(base, adapter)
    rows.stay_apart({"pixel_values": IMAGES, "labels": torch.zeros(5)}, lambda batch: output(base, batch["pixel_values"]))
    assert torch.equal(torch.get_rng_state(), before)
    factors = [parameter for layer in rows.layers for parameter in (layer.lora_A, layer.lora_B)]
    assert [p for p in base.parameters() if p.requires_grad] == factors


def test_layers_that_are_not_linear_or_not_there_are_refused() -> None:
    with pytest.raises(TypeError, match=r"on \['transformer\.h\.0\.attn\.c_attn', .*not plain nn\.Linear layers of this model"):
        AdapterStack(gpt2(), adapter_of(gpt2(), targets=("c_attn",), fan_in_fan_out=True))  # transformers' Conv1D
    with pytest.raises(TypeError, match="projection"):
        AdapterStack(vit(), adapter_of(vit(), targets=("projection",)))  # the convolution that makes patches
    with pytest.raises(TypeError, match=r"vit\.layers\.2\.attention\.q_proj"):
        AdapterStack(vit(2), adapter_of(vit(3)))


def test_layers_that_store_their_weight_in_a_way_of_their_own_are_refused() -> None:
    """As torchao's quantised ones do."""

    class Stored(nn.Parameter):
        pass

    model = vit()
    layer = model.vit.layers[1].attention.q_proj
    layer.weight = Stored(layer.weight.detach())
    with pytest.raises(TypeError, match=r"on \['vit\.layers\.1\.attention\.q_proj'\], which are not plain nn\.Linear layers"):
        AdapterStack(model, adapter_of(vit()))


@pytest.mark.parametrize("method", ["DoRA", "HiRA", "IA3"])
def test_adapters_that_are_not_plain_lora_are_refused(method: str) -> None:
    stranger = Adapter.from_model(adapted(method, vit()))
    with pytest.raises(ValueError, match="must be s·BA alone"):
        AdapterStack(vit(), stranger)
    with pytest.raises(ValueError, match="must be s·BA alone"):
        AdapterStack(vit(), adapter_of(vit())).stack([adapter_of(vit()), stranger])


def test_adapters_of_other_layers_or_shapes_are_refused() -> None:
    rows, fitting = AdapterStack(vit(), adapter_of(vit())), adapter_of(vit())
    narrow = {key: tensor[:, :15] if "lora_A" in key else tensor for key, tensor in fitting.tensors.items()}
    for stranger in (
        adapter_of(vit(), targets=("q_proj",)),  # fewer layers
        adapter_of(vit(), targets=("q_proj", "v_proj", "k_proj")),  # more
        adapter_of(vit(), targets=("q_proj", "o_proj")),  # as many, but others
        replace(fitting, tensors=narrow),
    ):
        with pytest.raises(ValueError, match=r"does not fit the model.*first at vit\.layers\.0\.attention"):
            rows.stack([fitting, stranger])


# --- Whether rows stay apart -----------------------------------------------------------------------------------------------


class Blocks(nn.Module):
    """Linear layers with something between them, on ``x`` ``[n, length, 4]``."""

    def __init__(self, between: nn.Module | None = None, batch_first: bool = True):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList([nn.Linear(4, 4) for _ in range(2)])
        self.between, self.batch_first = between or nn.ReLU(), batch_first

    def forward(self, x: Tensor) -> Tensor:
        x = x if self.batch_first else x.transpose(0, 1)  # [length, n, 4]
        x = self.layers[1](self.between(self.layers[0](x)))
        return (x if self.batch_first else x.transpose(0, 1)).flatten(1)


class OverTokens(nn.BatchNorm1d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.mT).mT


@pytest.mark.parametrize("n", [1, 3, 8])
@pytest.mark.parametrize(
    ("make", "length", "apart"),
    [
        (Blocks, 3, True),
        (lambda: Blocks(OverTokens(4)), 3, False),
        (lambda: Blocks(OverTokens(4)).eval(), 3, True),
        (lambda: Blocks(batch_first=False), 3, False),  # which two rows cannot share
        (lambda: Blocks(batch_first=False), 4, False),  # which they can, and would be wrong
    ],
    ids=["plain", "batch norm in training", "in evaluation", "length first, odd", "length first, even"],
)
def test_rows_that_would_meet_are_found(make: Callable[[], nn.Module], length: int, apart: bool, n: int) -> None:
    config = Adapter.from_model(adapted("LoRA", vit())).config | {"r": 1}
    shapes = {"A": (1, 4), "B": (4, 1)}
    factors = {f"{PREFIX}layers.{i}.lora_{f}.weight": torch.zeros(shape) for i in (0, 1) for f, shape in shapes.items()}
    rows = AdapterStack(make(), Adapter(config, factors))
    x = torch.randn(n, length, 4, generator=torch.Generator().manual_seed(1))
    batch = {"x": x, "labels": torch.zeros(n)}
    assert rows.stay_apart(batch, lambda batch: rows.model(batch["x"])) is apart


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("make", [llama, lambda: llama(attn_implementation="eager")])
def test_the_rows_of_a_transformer_stay_apart(make: Callable[[], nn.Module], train: bool) -> None:
    rows = AdapterStack(make().train(train), adapter_of(make()))
    batch = {"input_ids": torch.cat([TOKENS, TOKENS + 1]), "labels": torch.zeros(4)}
    assert rows.stay_apart(batch, lambda batch: rows.model(input_ids=batch["input_ids"]).logits)
