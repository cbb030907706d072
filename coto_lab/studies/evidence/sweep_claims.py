"""The claims of topic 2, and the one of topic 3 that needs several learning rates."""

from __future__ import annotations

from collections.abc import Mapping

from coto_lab.studies.evidence.records import PAIRS, Claim, Numbers, compare, summary
from coto_lab.studies.evidence.sweep_panels import ALONE, FUSED, PLAIN, Panel, favourites, grid, plain_rates, seeds
from coto_lab.studies.legs import Leg
from coto_lab.studies.rate_sweep import swept_rates

WORDS = {
    "none": "without safeguards",
    "clipping": "with gradients clipped to a norm of 1",
    "warm-up": "with a warm-up over the first tenth",
}


def claims_of_rates(single: Panel, numbers: Numbers, leg: Leg) -> list[Claim]:
    """The claims about single runs without safeguards.

    Args:
        single: their scores.
        numbers: ``best``, ``base`` and ``highest`` of topic 2.
        leg: whose.
    """
    lora, coto = (numbers["best"][ALONE][method] for method in ("LoRA", "CoTo"))
    base, highest, lowest = numbers["base"], numbers["highest"], next(iter(single["LoRA"]))
    own = {method: summary(favourites(scores)) for method, scores in single.items()}
    return [
        Claim(
            topic=2,
            text="At its best learning rate CoTo is better than LoRA at its own",
            paper="DTD 73.7 at 0.005 against 72.7 at 0.001 (figure r6)",
            kind="above",
            grid=grid(leg),
            parts={f"CoTo at {coto}, LoRA at {lora}": compare(single["CoTo"][coto], single["LoRA"][lora])},
        ),
        Claim(
            topic=2,
            text="CoTo's best learning rate is higher than LoRA's (best rate of each seed)",
            paper="best at 0.005 against 0.001, 2.3 doublings (figure r6)",
            kind="above",
            unit="doublings",
            grid=grid(leg),
            parts={"": compare(own["CoTo"], own["LoRA"])},
        ),
        Claim(
            topic=2,
            text="At the lowest rate CoTo is worse than LoRA",
            paper="DTD at 0.00005: 68.8 against 72.1 (figure r6)",
            kind="below",
            grid=f"seeds {seeds(leg)[0]} to {seeds(leg)[-1]}",
            parts={f"at {lowest}": compare(single["CoTo"][lowest], single["LoRA"][lowest])},
        ),
        Claim(
            topic=2,
            text="At the highest rate that every seed of CoTo withstands, CoTo is better than LoRA and than the base model",
            paper="DTD at 0.005: CoTo is at its best, LoRA collapses (figure r6)",
            kind="above",
            grid=grid(leg),
            parts={
                f"at {highest}, CoTo - LoRA": compare(single["CoTo"][highest], single["LoRA"][highest]),
                f"at {highest}, CoTo - base model": compare(single["CoTo"][highest], base),
            },
        ),
    ]


def claims_of_edges(edges: Mapping[str, Mapping[str, Numbers]], leg: Leg) -> list[Claim]:
    """The claims about the rates that runs withstand: safeguard -> method -> log2 of each seed's highest rate."""
    own = seeds(leg)
    return [
        Claim(
            topic=2,
            text=f"CoTo withstands higher rates than LoRA, {WORDS[safeguard]} (highest rate up to which a seed trains)",
            paper="DTD at 0.005: CoTo is at its best, LoRA collapses (figure r6)" if safeguard == PLAIN else "not reported",
            kind="above",
            unit="doublings",
            decimals=2,
            grid=grid(leg)
            if safeguard == PLAIN
            else f"{len(swept_rates(safeguard))} rates from 0.01; seeds {own[0]} to {own[-1]}",
            parts={"": compare(found["CoTo"], found["LoRA"])},
        )
        for safeguard, found in edges.items()
    ]


def claim_of_fusion(fused: Panel, numbers: Numbers, leg: Leg) -> Claim:
    """Whether CoTo fuses better at the gallery's rate, or at the rate of the grid nearest to it, even if LoRA has its best."""
    own = min(plain_rates(leg), key=lambda lr: abs(lr - leg.methods["CoTo"].lr))
    alone, together = numbers["best"][ALONE]["LoRA"], numbers["best"][FUSED]["LoRA"]
    rivals = {alone: f"{alone}, best alone", together: f"{together}, best fused"}
    if alone == together:
        rivals = {alone: f"{alone}, best alone and best fused"}
    return Claim(
        topic=3,
        text="Fused 1:1, CoTo at the gallery's rate is better even if LoRA has its best rate",
        paper="not reported",
        kind="above",
        grid=grid(leg),
        parts={
            f"CoTo at {own:g}, LoRA at {name}": compare(fused["CoTo"][f"{own:g}"], fused["LoRA"][lr], PAIRS)
            for lr, name in rivals.items()
        },
    )
