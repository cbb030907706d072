"""A base of the hub's format whose frozen weights are stored in 4 or 8 bits by bitsandbytes: gates and CoTo on top of it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from _check import falls, require
from llama import SMALL, Tokens, random_llama
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from coto_lab import Linear, Recipe, attach_gates, fit
from coto_lab.adapters.peft_model import add_adapter
from coto_lab.tasks.hub.source import Source

_STEPS = 20


class Stored(Tokens):
    """Random tokens for a Llama in a folder, which the hub's code loads."""

    def __init__(self, folder: Path, quantised: str | None):
        super().__init__(SMALL, torch.bfloat16, examples=8)
        self.source = Source(str(folder), dtype="bfloat16", quantised=quantised)
        self.base = f"random llama, {quantised}"

    def load_base(self) -> PreTrainedModel:
        return self.source.load(AutoModelForCausalLM)


def quantised(how: str | None) -> dict[str, float]:
    """CoTo trains float32 factors on weights stored in few bits, and shut gates give the base's own logits.

    ``how`` is one of those of `Source`; None stores them in bf16.
    """
    with tempfile.TemporaryDirectory() as folder:
        random_llama(SMALL, torch.bfloat16).save_pretrained(folder)
        task = Stored(Path(folder), how)
        recipe = Recipe(schedule=Linear(0.5), steps=_STEPS, lr=5e-3, batch_size=8)
        base = task.load_base()
        stored = {p.dtype for p in _linear(base)}
        require(stored == {_DTYPES[how]}, f"the weights of linear layers are {stored}")
        tokens = task.batch("train", range(4))["input_ids"].to(base.device)
        with torch.no_grad():
            bare = base.eval()(tokens).logits
            model = add_adapter(base, recipe.peft_config(task.target_modules)).eval()
            for name, p in model.named_parameters():
                if "lora_B" in name:
                    nn.init.normal_(p)
            gates = attach_gates(model)
            opened = model(tokens).logits
            gates.close(range(len(gates)))
            require(torch.equal(model(tokens).logits, bare), "with all gates shut, not what the base computes")
            require(not torch.equal(opened, bare), "with all gates open, what the base computes")
        run = fit(task, recipe, progress=False)
    require({t.dtype for t in run.adapter.tensors.values()} == {torch.float32}, "the adapter is not in float32")
    return falls(run.history.loss)


_DTYPES = {None: torch.bfloat16, "nf4": torch.uint8, "int8": torch.int8}


def _linear(model: nn.Module) -> list[nn.Parameter]:
    return [m.weight for name, m in model.named_modules() if isinstance(m, nn.Linear) and name != "lm_head"]
