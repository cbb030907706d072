"""Topic 5: each block's share of the gradient."""

from __future__ import annotations

from dataclasses import replace

import torch

from coto_lab.figures.gradients import gradient_balance_figure
from coto_lab.probes.gradients import PER, gradient_balance
from coto_lab.studies.evidence.lab import Lab
from coto_lab.studies.evidence.markdown import figure, method_table, table
from coto_lab.studies.evidence.records import Claim, Numbers, Section, against_lora, compare
from coto_lab.studies.gallery import METHODS

EARLY = 40  # steps


def measure(lab: Lab, done: Numbers) -> Section:
    """Numbers, claims and figures of this topic; ``done`` holds the numbers of topics measured before."""
    balances = {per: {m: [gradient_balance(run.history, per=per) for run in lab.runs(m)] for m in METHODS} for per in PER}
    entropy = {per: against_lora({m: [b.entropy for b in own] for m, own in found.items()}) for per, found in balances.items()}
    share = {m: torch.stack([b.overall for b in own]) for m, own in balances["step"].items()}
    n_blocks = share["LoRA"].shape[1]
    top = against_lora({m: (100 * values[:, n_blocks // 2 :].sum(1)).tolist() for m, values in share.items()})
    paper = "not reported in this form; the paper says that LoRA's updates concentrate in the top blocks and CoTo spreads them"
    claims = [
        Claim(
            topic=5,
            text="LoRA's gradients concentrate in the top blocks (share of the top half, in excess of 50)",
            paper=paper,
            kind="above",
            parts={"": compare(top["LoRA"], 50.0)},
        ),
        *[
            Claim(
                topic=5,
                text=f"CoTo's gradients are spread more evenly over the blocks (entropy per {per})",
                paper="not reported in this form",
                kind="above",
                unit="",
                digits=3,
                parts={"": compare(entropy[per]["CoTo"], entropy[per]["LoRA"])},
            )
            for per in PER
        ],
    ]
    # The shares are averaged over the seeds, and the figure shows the entropy of the mean shares.
    means = {
        method: replace(
            own[0], share=torch.stack([b.share for b in own]).mean(0), overall=torch.stack([b.overall for b in own]).mean(0)
        )
        for method, own in balances["step"].items()
    }
    norms = {m: torch.stack([run.history.grad_norm.sum(1) for run in lab.runs(m)]) for m in METHODS}  # [5, steps]
    numbers = {
        "early": {m: round(100 * (norm[:, :EARLY].sum(1) / norm.sum(1)).mean().item(), 4) for m, norm in norms.items()},
        "entropy": entropy,
        "top_half": top,
        "blocks": {m: [round(100 * x, 4) for x in values.mean(0).tolist()] for m, values in share.items()},
    }
    return Section(numbers, claims, {"gradients": gradient_balance_figure(means)})


def text(evidence: Numbers) -> str:
    """The topic's section of the page, in Markdown."""
    numbers = evidence["gradients"]
    blocks, early = numbers["blocks"], numbers["early"]
    n_blocks = len(blocks["LoRA"])
    entropy = {f"entropy per {per}": numbers["entropy"][per] for per in PER}
    rows = [[method, *[f"{share:.1f}" for share in shares]] for method, shares in blocks.items()]
    largest = {method: max(range(n_blocks), key=shares.__getitem__) for method, shares in blocks.items()}
    low = all(block < n_blocks // 2 for block in largest.values())
    note = (
        f"For every method, the block with the largest share is in the lower half of the blocks (block {largest['LoRA']} for "
        f"LoRA, block {largest['CoTo']} for CoTo)."
        if low
        else f"The largest share is that of block {largest['LoRA']} for LoRA, and of block {largest['CoTo']} for CoTo."
    )
    return f"""## 5. Balance of the gradients

This section is about each block's share of the gradient norm over a whole training. The first table says how even the shares
are: it has Shannon's entropy divided by its maximum, so that 1 means equal shares. Per step, a dropped block counts as 0; per
open step, only the steps in which the block was open count. There are five seeds, and below a value is the difference to LoRA.

{method_table(entropy, digits=3)}

The second table has the shares in %, as means over the seeds, with the blocks from the input up. {note} The norm of a gradient
is not the size of an update, because AdamW divides by it. Steps do not have equal weight either, because the norms are summed:
{early["LoRA"]:.0f}% of LoRA's sum and {early["CoTo"]:.0f}% of CoTo's are from the first {EARLY} steps.

{table(["", *[f"block {i}" for i in range(n_blocks)]], rows)}

{figure("gradients", "share of the gradient norm by block and step; the titles give the entropy of the mean shares")}
"""
