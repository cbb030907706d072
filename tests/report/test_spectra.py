"""Norms and singular values of updates, against dense matrices."""

from __future__ import annotations

import peft
import pytest
import torch
from tiny_models import config_of, lora, randomise, vit
from torch import nn

from coto_lab import Adapter
from coto_lab.report.spectra import spectra
from coto_lab.scoring.sites import find_sites


@pytest.mark.parametrize("method", ["LoRA", "DoRA", "HiRA"])
def test_they_are_those_of_what_a_merge_adds(method: str) -> None:
    base = vit()
    adapter = Adapter.from_model(randomise(peft.get_peft_model(vit(), config_of(method)), 1))
    sites = find_sites(base, adapter)
    found = spectra(adapter, base, sites)
    merged = adapter.attach(vit()).merge_and_unload()
    for i, name in enumerate(sites.names):
        before = base.get_submodule(name).weight.double()
        update = merged.get_submodule(name).weight.double() - before
        assert found.norm[i].item() == pytest.approx(update.norm().item(), rel=1e-4)
        assert found.relative[i].item() == pytest.approx((update.norm() / before.norm()).item(), rel=1e-4)
        expected = torch.linalg.svdvals(update)
        own = nn.functional.pad(found.singular[i], (0, len(expected) - len(found.singular[i])))
        torch.testing.assert_close(own, expected, rtol=1e-3, atol=1e-4)
        assert found.top_share[i].item() == pytest.approx((expected[0] ** 2 / (expected**2).sum()).item(), rel=1e-3)


def test_a_blocks_numbers_are_those_of_its_modules_together() -> None:
    base = vit()
    adapter = Adapter.from_model(randomise(peft.get_peft_model(vit(), lora(["q_proj", "v_proj"])), 1))
    found = spectra(adapter, base, find_sites(base, adapter))
    for block, norm in found.block_norm.items():
        own = [i for i, name in enumerate(found.blocks) if name == block]
        assert len(own) == 2
        assert norm == pytest.approx(found.norm[own].square().sum().sqrt().item())
        assert found.block_spectrum(block).square().sum().item() == pytest.approx(norm**2)
        first = torch.stack([found.singular[i][0] for i in own])
        assert found.block_spectrum(block)[0].item() == pytest.approx(first.square().sum().sqrt().item())
