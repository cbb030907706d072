"""Topic 5: each block's share of the gradient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import plotly.graph_objects as go
import torch

from coto_lab.figures.gradients import gradient_balance_figure
from coto_lab.probes.gradients import PER, GradientBalance, gradient_balance
from coto_lab.studies.evidence.lab import Lab
from coto_lab.studies.evidence.markdown import figure, method_table, on_each, table
from coto_lab.studies.evidence.records import Claim, Numbers, Section, against_lora, compare
from coto_lab.studies.evidence.values import Values
from coto_lab.studies.legs import DIGITS, Leg

EARLY = 40  # steps


def values(lab: Lab) -> Values:
    """Shares of the gradient norm over the whole training.

    ``entropy``: per -> method -> ``[seeds]``. ``share``, per step: method -> ``[seeds, blocks]``. The digits also have
    ``early`` (the share of the first steps in the sum of the norms: method -> ``[seeds]``) and ``balances`` (method -> the
    balance of every seed), which need the norms of every step.
    """
    if lab.leg != DIGITS:
        return _recorded(lab)
    balances = {
        per: {m: [gradient_balance(run.history, per=per) for run in lab.runs(m)] for m in lab.leg.methods} for per in PER
    }
    norms = {m: torch.stack([run.history.grad_norm.sum(1) for run in lab.runs(m)]) for m in lab.leg.methods}  # [5, steps]
    return {
        "entropy": {
            per: {m: torch.tensor([b.entropy for b in own], dtype=torch.float64) for m, own in found.items()}
            for per, found in balances.items()
        },
        "share": {m: torch.stack([b.overall for b in own]) for m, own in balances["step"].items()},
        "early": {m: norm[:, :EARLY].sum(1) / norm.sum(1) for m, norm in norms.items()},
        "balances": balances["step"],
    }


def _recorded(lab: Lab) -> Values:
    """The shares that the manifest has of runs that are in the gallery without their histories."""
    found = {m: [own["gradient"] for own in lab.recorded(m)] for m in lab.leg.methods}
    return {
        "entropy": {
            per: {m: torch.tensor([seed[per]["entropy"] for seed in own], dtype=torch.float64) for m, own in found.items()}
            for per in PER
        },
        "share": {m: torch.tensor([seed["step"]["share"] for seed in own], dtype=torch.float64) for m, own in found.items()},
    }


def judge(found: Values, leg: Leg) -> Section:
    """Numbers, claims and figures of this topic; ``found`` holds the values of all topics."""
    own = found["gradients"]
    entropy = {per: against_lora(values) for per, values in own["entropy"].items()}
    share = own["share"]
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
                decimals=3,
                parts={"": compare(entropy[per]["CoTo"], entropy[per]["LoRA"])},
            )
            for per in PER
        ],
    ]
    numbers = {
        "entropy": entropy,
        "top_half": top,
        "blocks": {m: [round(100 * x, 4) for x in values.mean(0).tolist()] for m, values in share.items()},
    }
    if "early" in own:
        numbers["early"] = {m: round(100 * shares.mean().item(), 4) for m, shares in own["early"].items()}
    return Section(numbers, claims, {"gradients": _figure(own["balances"])} if "balances" in own else {})


def _figure(balances: Mapping[str, list[GradientBalance]]) -> go.Figure:
    """The shares are averaged over the seeds, and the figure shows the entropy of the mean shares."""
    means = {
        method: replace(
            own[0], share=torch.stack([b.share for b in own]).mean(0), overall=torch.stack([b.overall for b in own]).mean(0)
        )
        for method, own in balances.items()
    }
    return gradient_balance_figure(means)


def text(legs: Mapping[str, Numbers]) -> str:
    """The topic's section of the page, in Markdown."""

    def entropy(leg: str, numbers: Numbers) -> str:
        return method_table({f"entropy per {per}": numbers["gradients"]["entropy"][per] for per in PER}, digits=3)

    def shares(leg: str, numbers: Numbers) -> str:
        blocks, early = numbers["gradients"]["blocks"], numbers["gradients"].get("early")
        n_blocks = len(blocks["LoRA"])
        rows = [[method, *[f"{share:.1f}" for share in own]] for method, own in blocks.items()]
        largest = {method: max(range(n_blocks), key=own.__getitem__) for method, own in blocks.items()}
        note = f"The largest share is that of block {largest['LoRA']} for LoRA, and of block {largest['CoTo']} for CoTo."
        if all(block < n_blocks // 2 for block in largest.values()):
            note += " For every method, the block with the largest share is in the lower half."
        if early:
            note += (
                f" Of LoRA's sum of norms {early['LoRA']:.0f}% is from the first {EARLY} steps, of CoTo's {early['CoTo']:.0f}%."
            )
        parts = [table(["", *[f"block {i}" for i in range(n_blocks)]], rows), note]
        if early:
            titles = "share of the gradient norm by block and step; the titles give the entropy of the mean shares"
            parts.append(figure(leg, "gradients", f"{titles}, {leg}"))
        return "\n\n".join(parts)

    return f"""## 5. Balance of the gradients

This section is about each block's share of the gradient norm over a whole training. The first table says how even the shares
are: it has Shannon's entropy divided by its maximum, so that 1 means equal shares. Per step, a dropped block counts as 0; per
open step, only the steps in which the block was open count. There are five seeds, and below a value is the difference to LoRA.

{on_each(legs, entropy)}

The next table has the shares in %, as means over the seeds, with the blocks from the input up. The norm of a gradient is not
the size of an update, because AdamW divides by it. Steps do not have equal weight either, because the norms are summed.

{on_each(legs, shares)}
"""
