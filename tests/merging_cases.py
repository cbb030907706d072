"""Adapters to merge, their updates by dense arithmetic in float64, and what PEFT's own merging makes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import peft
import torch
from tiny_models import randomise, vit
from torch import Tensor, nn

from coto_lab import Adapter
from coto_lab.adapters.configuration import json_values

MODULE = "base_model.model.layer"
Updates = Mapping[str, Tensor]


def lora(seed: int = 0, r: int = 2, alpha: float = 4, model: nn.Module | None = None, **settings: object) -> Adapter:
    """A LoRA with random factors, of the tiny ViT unless told; 16 x 16 in each of six modules."""
    config = peft.LoraConfig(r=r, lora_alpha=alpha, **{"target_modules": ["q_proj", "v_proj"]} | settings)
    return Adapter.from_model(randomise(peft.get_peft_model(vit() if model is None else model, config), seed))


def made(a: Tensor, b: Tensor, **settings: object) -> Adapter:
    """A LoRA of one module with these factors and the scale 1; of no model."""
    config = peft.LoraConfig(r=len(a), lora_alpha=len(a), target_modules=["layer"], **settings)
    return Adapter(json_values(config.to_dict()), {f"{MODULE}.lora_A.weight": a, f"{MODULE}.lora_B.weight": b})


def of_update(update: Tensor) -> Adapter:
    """A LoRA of one module with exactly this update."""
    return made(torch.eye(update.shape[1], dtype=update.dtype), update)


def random_pair(seed: int, r: int = 3, inputs: int = 7, outputs: int = 5) -> tuple[Tensor, Tensor]:
    """Random factors A ``[r, in]`` and B ``[out, r]``, float64."""
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(n, m, generator=generator, dtype=torch.float64) for n, m in ((r, inputs), (outputs, r)))  # type: ignore[return-value]


def dense(adapter: Adapter) -> dict[str, Tensor]:
    """ΔW of every module of a plain LoRA, in float64, by the formula."""
    config, tensors = adapter.config, adapter.tensors
    scale = config["lora_alpha"] / (config["r"] ** 0.5 if config["use_rslora"] else config["r"])
    names = [key.removesuffix(".lora_A.weight") for key in tensors if key.endswith(".lora_A.weight")]
    return {n: scale * tensors[f"{n}.lora_B.weight"].double() @ tensors[f"{n}.lora_A.weight"].double() for n in names}


def only(adapter: Adapter) -> Tensor:
    """The update of an adapter of one module."""
    (update,) = dense(adapter).values()
    return update


def by_peft(
    adapters: Sequence[Adapter], weights: Sequence[float], kind: str, seed: int = 0, **options: object
) -> dict[str, Tensor]:
    """ΔW of PEFT's ``add_weighted_adapter`` with this ``combination_type``, float64; ``seed`` is of torch's random numbers."""
    names = [f"adapter{i}" for i in range(len(adapters))]
    model = peft.get_peft_model(vit(), adapters[0].peft_config(), names[0])
    for name, adapter in zip(names[1:], adapters[1:], strict=True):
        model.add_adapter(name, adapter.peft_config())
    for name, adapter in zip(names, adapters, strict=True):
        peft.set_peft_model_state_dict(model, dict(adapter.tensors), adapter_name=name)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model.add_weighted_adapter(names, list(weights), "merged", combination_type=kind, **options)
    layers = {name: module for name, module in model.named_modules() if hasattr(module, "get_delta_weight")}
    return {name: layer.get_delta_weight("merged").detach().double() for name, layer in layers.items()}


def assert_updates(found: Updates, expected: Updates, atol: float = 1e-5) -> None:
    """The updates agree, and are not all zero."""
    assert found.keys() == expected.keys() and any(update.abs().max() > 1e-3 for update in expected.values())
    for name, update in expected.items():
        torch.testing.assert_close(found[name], update, rtol=1e-4, atol=atol)


def weighted(adapters: Sequence[Adapter], weights: Sequence[float]) -> dict[str, Tensor]:
    """Σ wᵢ ΔWᵢ by dense arithmetic."""
    parts = [dense(adapter) for adapter in adapters]
    return {name: sum(w * part[name] for w, part in zip(weights, parts, strict=True)) for name in parts[0]}  # type: ignore[misc]


def explicit(adapter: Adapter) -> Adapter:
    """The same updates, with the scale in B."""
    factors = adapter.factors()
    tensors = {
        f"{name}.lora_{letter}.weight": tensor
        for name, pair in factors.items()
        for letter, tensor in zip("AB", pair, strict=True)
    }
    r = adapter.config["r"]
    return replace(adapter, config=adapter.config | {"use_rslora": False, "lora_alpha": r}, tensors=tensors)


def without_block(adapter: Adapter, block: int = 0) -> Adapter:
    """The adapter with the factors B of a block at zero: the block is pruned."""
    tensors = {
        key: torch.zeros_like(t) if f"layers.{block}." in key and "lora_B" in key else t for key, t in adapter.tensors.items()
    }
    assert any(not t.any() for t in tensors.values())
    return replace(adapter, tensors=tensors)
