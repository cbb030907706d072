"""torch.compile on an accelerator: masks, losses and gradients as without it, and no mask makes torch give up."""

from __future__ import annotations

import torch
from _check import require
from gpu_gates import adapted, random_tokens, training_pass
from torch._dynamo.utils import counters

from coto_lab import attach_gates
from coto_lab.gating.coto import draw_mask
from coto_lab.ground.device import default_device

_MASKS = 16
_ROUNDING = 1e-3  # relative, in float32: a compiled kernel adds in another order


def compiled() -> dict[str, float]:
    """Under torch.compile gates give the same losses and gradients, and torch never gives up compiling.

    The whole model is compiled: by inductor, on the CPU by the part of it that needs no compiler.
    """
    plain, fast = adapted(torch.float32), adapted(torch.float32)
    oracle, gates = attach_gates(plain), attach_gates(fast)
    fast.compile(backend="inductor" if default_device().type == "cuda" else "aot_eager")
    tokens, worst = random_tokens(), 0.0
    counters.clear()
    with torch._dynamo.config.patch(fail_on_recompile_limit_hit=True):
        for step in range(_MASKS):
            mask = draw_mask(len(gates), 0.5, seed=0, step=step)
            gates.train_with(mask)
            oracle.train_with(mask)
            (logits, found), (expected, wanted) = training_pass(fast, tokens), training_pass(plain, tokens)
            for ours, theirs in zip((logits, *found), (expected, *wanted), strict=True):
                require((ours is None) == (theirs is None), f"mask {mask.int().tolist()}: other parameters get a gradient")
                if ours is not None and theirs is not None:
                    worst = max(worst, ((ours - theirs).norm() / theirs.norm()).item())
    require(worst < _ROUNDING, f"logits or gradients differ by {worst:.2g} of their length")
    return {"masks": float(_MASKS), "graphs": float(counters["stats"]["unique_graphs"]), "difference": worst}
