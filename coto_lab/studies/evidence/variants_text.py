"""The section of the page about the variants of LoRA."""

from __future__ import annotations

from collections.abc import Mapping

from coto_lab.studies.evidence.accuracy import MARGIN
from coto_lab.studies.evidence.markdown import figure, interval, on_each, spread, table
from coto_lab.studies.evidence.records import Numbers
from coto_lab.studies.evidence.variants import ALLOWED, CLAIMED, RIVALS
from coto_lab.studies.statistics import FAILS, HOLDS, OPEN, Difference
from coto_lab.studies.variant_table import FUSIONS, SCORES, UPDATES
from coto_lab.studies.variants import COTO, PLAIN, RATES, SEEDS, SWEEP_SEEDS, WAYS

_WORDS = {
    "alone": "single adapters",
    "pruned": "with every other block's adapter kept",
    "fused": "two seeds fused 1:1",
}


def text(legs: Mapping[str, Numbers]) -> str:
    """The section, in Markdown, from the numbers of the legs on which the variants were trained."""
    own = {leg: numbers["variants"] for leg, numbers in legs.items() if "variants" in numbers}
    methods = list(next(iter(own.values()))["methods"])
    settings = "; ".join(f"on the {leg} the task is {n['task']}, with {n['steps']} steps" for leg, n in own.items())
    kinds = "\n".join(f"- {kind}: {reason}." for kind, reason in FUSIONS.items())
    return f"""## 14. Variants

CoTo only decides which blocks train at a step, so it goes with any method that adapts layers. Here {len(methods)} methods are
trained with and without it. The recipe is that of the gallery but for these settings: {settings}. Nothing in this section is
among the claims and counts at the top of the page, which are about LoRA. `make variants` trains the adapters.

**What was held equal.** Methods whose size is a rank like LoRA's have LoRA's rank. Of the others, the rank or the block size
was chosen such that they have about as many trained numbers as LoRA, where this is possible. The table says which, and how
many.

**The learning rates.** Each method has a sweep of its own without CoTo, and one with it. {_grid(own)} Where the best rate is
at an end of those that were tried, the next one beyond it is tried, too. The sweep has one seed, {SWEEP_SEEDS[0]}, which is
used for nothing else. The tables have {len(SEEDS)} other seeds, {SEEDS[0]} to {SEEDS[-1]}, at the best rate. The rate was
chosen by the accuracy of single adapters on the same test examples, so these scores are slightly too good, with and without
CoTo; pruning and fusion have the same rate, which need not be best for them. One seed chooses roughly: where other seeds
collapse at the rate that was best for the first one, the standard deviation is large.

{_rates(own)}

{on_each(own, _costs)}

The time of a step is that of the method without CoTo, over that of LoRA; "saved" is the share of the training time that CoTo
saves over the whole ramp. Both were measured in trainings that took turns on one machine, and the prediction counts which
blocks were open.

**What a fusion averages.** "Fused" is the average of what was trained, over all ten pairs of seeds. It means different things:

{kinds}

The ensemble averages ΔW itself, and is defined for all. The table has the test accuracy in %, first without CoTo, then with
CoTo, and then the difference (CoTo - plain) with its 95% interval. The verdicts are about the claim that CoTo is better.

{on_each(own, _scores)}

{_counts(own)}

{_verdicts(own)}

{_linear(own)}

**Beside LoRA.** Differences of single adapters to LoRA, each at its own best rate, without CoTo and with CoTo on both sides.
The code that LoRA-Pro's authors released scales the update as rsLoRA does. Here it has LoRA's scale, and stands beside both.

{on_each(own, _rivals)}

{_lora_pro(own)}

**Where a start rewrites the base.** PiSSA and OLoRA take their start out of the pre-trained weight. So a block that CoTo drops
in training is not the pre-trained block, but what is left of it. All scores above are about adapters on the untouched base,
where a block without its adapter is the pre-trained one. This table has every other block kept, once like this, and once with
the other blocks as they are when they are dropped in training. The last column has no block's adapter, all blocks as they are
when dropped, with the pre-trained model in brackets.

{on_each(own, _dropped)}

{_matters(own)}

The adapters of seed {SEEDS[0]} ship in half precision. `make evidence` scores them again: {_again(own)}. More than {ALLOWED:g}
would be an error.
"""


def _grid(own: Mapping[str, Numbers]) -> str:
    """The grid, and which methods were swept over more rates than it and the rule ask for."""
    grid = ", ".join(f"{rate:g}" for rate in RATES)
    wider = [
        f"{name} on the {leg}"
        for leg, numbers in own.items()
        for name, method in numbers["methods"].items()
        if any(min(rates) < RATES[0] and max(rates) > RATES[-1] for rates in _tried(method))
    ]
    if not wider:
        return f"The grid ({grid}) and the rule for going on were fixed before the first run."
    return (
        f"The rule for going on was fixed before the first run. The grid ({grid}) was wider at first, and was shortened to "
        f"save time when these had been swept: {', '.join(wider)}."
    )


def _tried(method: Numbers) -> list[list[float]]:
    return [[float(rate) for rate in rates] for rates in method["tried"].values()]


def _rates(own: Mapping[str, Numbers]) -> str:
    """Whether CoTo's best rate is another one."""
    parts = []
    for leg, numbers in own.items():
        pairs = [method["lr"] for method in numbers["methods"].values()]
        higher, lower = (sum(sign * lr[COTO] > sign * lr[PLAIN] for lr in pairs) for sign in (1, -1))
        equal = len(pairs) - higher - lower
        parts.append(
            f"on the {leg}, of {len(pairs)} methods it is higher with CoTo for {higher}, lower for {lower}, and the same for "
            f"{equal}"
        )
    return f"The best rate: {'; '.join(parts)}."


def _costs(leg: str, numbers: Numbers) -> str:
    rows = [
        [
            name,
            own["held equal"],
            own["fusion of"],
            f"{own['cost']['parameters']:,}",
            *(f"{own['lr'][way]:g}" for way in WAYS),
            f"{own['cost']['step']:.2f}",
            *(f"{own['cost'][what]:.0%}" for what in ("measured", "predicted")),
        ]
        for name, own in numbers["methods"].items()
    ]
    header = ["method", "held equal", "fusion of", "trained numbers", "best rate, plain", "best rate, CoTo"]
    return table([*header, "time of a step", "saved, measured", "saved, predicted"], rows, texts=3)


def _scores(leg: str, numbers: Numbers) -> str:
    rows = [[name, *("<br>".join(_cell(own["scores"][score])) for score in SCORES)] for name, own in numbers["methods"].items()]
    words = f"CoTo - plain for each method: alone, with every other block kept, and fused, with 95% intervals, {leg}"
    return f"{table(['method', *SCORES.values()], rows)}\n\n{figure(leg, 'variants', words)}"


def _cell(score: Numbers) -> list[str]:
    lines = [*(spread(score[way]) for way in WAYS), interval(score["difference"])]
    return [*lines, f"**{score['verdict']}**"] if "verdict" in score else lines


def _counts(own: Mapping[str, Numbers]) -> str:
    """How many verdicts there are of each kind, and how many intervals miss."""
    found = [
        method["scores"][score]["verdict"]
        for numbers in own.values()
        for method in numbers["methods"].values()
        for score in CLAIMED
    ]
    holds, fails, is_open = (found.count(kind) for kind in (HOLDS, FAILS, OPEN))
    return (
        f"Of the {len(found)} verdicts in these tables, {holds} hold, {fails} do not, and {is_open} are inconclusive. At 95%, "
        f"about one interval in twenty misses, and so about {round(len(found) / 20)} of these."
    )


def _verdicts(own: Mapping[str, Numbers]) -> str:
    lines = []
    for leg, numbers in own.items():
        for score in CLAIMED:
            found = {name: method["scores"][score]["verdict"] for name, method in numbers["methods"].items()}
            holds, fails, is_open = (
                [name for name, verdict in found.items() if verdict == kind] for kind in (HOLDS, FAILS, OPEN)
            )
            lines.append(
                f"- On the {leg}, {_WORDS[score]}: of {len(found)} methods CoTo is better with {_listed(holds)}, worse with "
                f"{_listed(fails)}, and with {len(is_open) or 'none'} it is inconclusive."
            )
    return "\n".join(lines)


def _listed(names: list[str]) -> str:
    return f"{len(names)} ({', '.join(names)})" if names else "none"


def _linear(own: Mapping[str, Numbers]) -> str:
    names = [name for name, method in next(iter(own.values()))["methods"].items() if method["fusion of"] == UPDATES]
    return (
        f"With {' and '.join(names)}, the fusion is the ensemble, so its verdicts say nothing about cross terms."
        if names
        else "No fusion in this table is the ensemble."
    )


def _rivals(leg: str, numbers: Numbers) -> str:
    rows = [
        [name, *(interval(method["against"]["LoRA"][way]) for way in WAYS)]
        for name, method in numbers["methods"].items()
        if "LoRA" in method["against"]
    ]
    return table(["method", "method - LoRA, both plain", "method - LoRA, both with CoTo"], rows)


def _lora_pro(own: Mapping[str, Numbers]) -> str:
    lines = []
    for leg, numbers in own.items():
        for name in (name for name in numbers["methods"] if name.startswith("LoRA-Pro")):
            against = numbers["methods"][name]["against"]
            said = [
                f"above {rival}, {way}: {Difference(**against[rival][way]).verdict('above')} {interval(against[rival][way])}"
                for rival in RIVALS
                for way in WAYS
            ]
            lines.append(f"- On the {leg}, {name} is {'; '.join(said)}.")
    return "\n".join(lines)


def _dropped(leg: str, numbers: Numbers) -> str:
    rows = [
        [
            f"{name}, {way}",
            spread(found["pruned"]),
            spread(found["pruned_as_trained"]),
            interval(found["difference"]),
            f"{found['none_as_trained']:.1f} ({numbers['base']:.1f})",
        ]
        for name, way, found in _as_trained(numbers)
    ]
    return table(["", "other blocks pre-trained", "other blocks as dropped", "difference", "no adapter, as dropped"], rows)


def _as_trained(numbers: Numbers) -> list[tuple[str, str, Numbers]]:
    return [
        (name, way, found) for name, method in numbers["methods"].items() for way, found in method.get("as trained", {}).items()
    ]


def _matters(own: Mapping[str, Numbers]) -> str:
    says = {HOLDS: "it does not matter", FAILS: "it matters", OPEN: "this is inconclusive"}
    said = [
        f"- On the {leg}, {name}, {way}: {says[Difference(**found['difference']).verdict('same', MARGIN)]}."
        for leg, numbers in own.items()
        for name, way, found in _as_trained(numbers)
    ]
    rule = (
        f"It does not matter which one is taken if the interval lies within {MARGIN:g} point of 0; else it matters if the "
        "interval excludes 0."
    )
    return rule + "\n\n" + "\n".join(said)


def _again(own: Mapping[str, Numbers]) -> str:
    parts = [f"at most {numbers['farthest']:.2f} points on the {leg}" for leg, numbers in own.items()]
    return f"they differ from the tables by {', '.join(parts)}"
