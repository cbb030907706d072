"""An adapter that somebody made with PEFT computes on a fresh base what it computed there, or it is refused."""

from __future__ import annotations

import warnings
from pathlib import Path

import peft
import pytest
import torch
from peft_methods import METHODS, base, model_of
from tiny_models import TARGETS, logits, randomise

from coto_lab import Adapter

# What PEFT cannot put on a base twice, with the words of the refusal.
REFUSED = {
    "PiSSA, fast": "init_lora_weights='pissa_niter_2', which rewrote weights of its base by random numbers",
    "LoRA-GA": "init_lora_weights='lora_ga', which rewrote weights of its base by gradients on its data",
    "CorDA": "run `preprocess_corda` first",
}
WITH_INPUTS = {"Poly"}  # it asks for a task of each example


@pytest.mark.parametrize("method", sorted(METHODS.keys() - WITH_INPUTS))
def test_it_computes_the_same_or_is_refused(method: str, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT's, of its configurations
        model = model_of(method).eval()
        model.save_pretrained(tmp_path)
        adapter = Adapter.load(tmp_path)
        if method in REFUSED:
            with pytest.raises(ValueError, match=REFUSED[method]):
                adapter.attach(base())
        else:
            assert torch.equal(logits(adapter.attach(base())), logits(model))


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (peft.VeraConfig, {"r": 2, "save_projection": False, "projection_prng_key": 5}),
        (peft.RandLoraConfig, {"r": 2, "save_projection": False, "sparse": True}),
        (peft.OFTConfig, {"r": 0, "oft_block_size": 8, "use_cayley_neumann": False}),
        (peft.BOFTConfig, {"boft_block_num": 4, "boft_block_size": 0}),
        (peft.LoHaConfig, {"r": 2, "rank_pattern": {"v_proj": 3}, "alpha_pattern": {"v_proj": 5}}),
        (peft.LoraConfig, {"r": 2, "init_lora_weights": "pissa", "use_rslora": True}),
        (peft.LoraConfig, {"r": 2, "init_lora_weights": "olora", "alpha_pattern": {"v_proj": 5}}),
    ],
)
def test_other_options_are_kept(kind: type[peft.PeftConfig], settings: dict, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT's, of random matrices that are not saved, and of its CUDA extension
        model = randomise(peft.get_peft_model(base(), kind(target_modules=TARGETS, **settings))).eval()
        model.save_pretrained(tmp_path)
        adapter = Adapter.load(tmp_path)
        assert torch.equal(logits(adapter.attach(base())), logits(model))
        update, merged = adapter.update(base()), model.merge_and_unload()
    assert len(update) == 6
    for name, change in update.items():
        after = merged.get_submodule(name).weight
        torch.testing.assert_close(base().get_submodule(name).weight + change, after, rtol=1e-4, atol=1e-5)
