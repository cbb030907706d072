"""Where an adapter acts, read from its tensors: what the gates of a model that carries it say."""

from __future__ import annotations

import dataclasses

import peft
import pytest
import torch
from tiny_models import METHODS, adapted, config_of, llama, t5, vit, wrap

from coto_lab import Adapter, attach_gates
from coto_lab.scoring.sites import Sites, find_sites, module_mask


@pytest.mark.parametrize("method", METHODS)
def test_sites_are_the_gates_of_a_model_that_carries_the_adapter(method: str) -> None:
    model = adapted(method, vit())
    sites, gates = find_sites(vit(), Adapter.from_model(model)), attach_gates(model, by="module")
    assert (sites.names, sites.blocks, len(sites)) == (gates.names, gates.blocks, len(gates))
    assert sites.block_names == tuple(dict.fromkeys(gates.blocks))


@pytest.mark.filterwarnings("ignore:coto_lab. attach_gates:UserWarning")
def test_modules_that_train_whole_and_layers_on_no_block_are_told_apart() -> None:
    model = wrap(llama(), config_of("LoRA", ["q_proj", "lm_head"], modules_to_save=["embed_tokens"]))
    sites = find_sites(llama(), Adapter.from_model(model))
    assert sites.names == (*(f"model.layers.{i}.self_attn.q_proj" for i in range(3)), "lm_head")
    assert sites.blocks == (*(f"model.layers.{i}" for i in range(3)), "lm_head")


def test_modules_come_in_the_models_order_in_both_towers() -> None:
    model = peft.get_peft_model(t5(), config_of("LoRA", ["v", "q"]))
    sites = find_sites(t5(), Adapter.from_model(model))
    assert list(sites.names) == [name for name, _ in t5().named_modules() if name in sites.names] and len(sites) == 16


def test_a_base_that_lacks_the_modules_is_refused() -> None:
    adapter = Adapter.from_model(adapted("LoRA", vit(3)))
    with pytest.raises(ValueError, match=r"lacks 2 of the modules that it adapts, first 'vit\.layers\.2\.attention\.q_proj'"):
        find_sites(vit(2), adapter)


SITES = Sites(("a.q", "a.v", "b.q"), ("a", "a", "b"))


def test_a_mask_over_blocks_opens_all_modules_of_each() -> None:
    assert module_mask(SITES, None).tolist() == [True, True, True] and module_mask(SITES, None).dtype == torch.bool
    assert module_mask(SITES, torch.tensor([True, False])).tolist() == [True, True, False]
    assert module_mask(SITES, torch.tensor([False, True])).tolist() == [False, False, True]
    modules = torch.tensor([False, True, False])
    assert module_mask(SITES, modules).tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("mask", "found"),
    [
        (torch.ones(4, dtype=torch.bool), r"torch\.bool \[4\]"),
        (torch.ones(1, dtype=torch.bool), r"torch\.bool \[1\]"),
        (torch.ones(1, 2, dtype=torch.bool), r"torch\.bool \[1, 2\]"),
        (torch.ones(3), r"torch\.float32 \[3\]"),
        ([True, False], "list"),
    ],
    ids=["long", "short", "2-d", "float", "list"],
)
def test_a_mask_that_lies_over_neither_is_refused(mask: object, found: str) -> None:
    with pytest.raises(ValueError, match=rf"mask must be a BoolTensor \[2\] \(blocks\) or \[3\] \(modules\), got {found}\."):
        module_mask(SITES, mask)


def test_sites_are_a_frozen_value() -> None:
    assert {SITES, dataclasses.replace(SITES)} == {SITES}
