"""How many examples and choices each part of a report takes, so that the whole ends in the time that it is given."""

from __future__ import annotations

from dataclasses import dataclass

from coto_lab.probes.shapley import AUTO_EXACT

FEWEST = 50  # examples of a part, where the test set has as many
_FEWEST_EXACT = 25  # of a game of all coalitions, whose error over the examples the page shows
_SAMPLED = 64  # examples of an estimated game: more orders of fewer examples
SPARSITIES = 11
MOST_KINDS = 8  # beyond which not all coalitions of kinds are scored
_ORDERS, _MASKS = (8, 100), (4, 20)  # fewest and most
_SHARES = {"blocks": 0.5, "kinds": 0.1, "patterns": 0.1, "sparsity": 0.15, "stability": 0.15}  # of the time


@dataclass(frozen=True)
class Plan:
    """What is scored.

    Attributes:
        exact: whether all coalitions of the blocks are scored.
        orders: random orders of the blocks, otherwise.
        samples: masks of dropout stability for each number of open blocks.
        steps: part -> every how many of the examples it takes.
        variants: part -> about how many variants it scores.
    """

    exact: bool
    orders: int
    samples: int
    steps: dict[str, int]
    variants: dict[str, int]


def make_plan(
    blocks: int, kinds: int, patterns: int, examples: int, *, shared: bool, pass_seconds: float, seconds: float | None
) -> Plan:
    """Choose, from what one variant takes.

    Args:
        blocks, kinds, patterns: how many there are.
        examples: test examples.
        shared: whether variants share the computation of their lower blocks: then all 2^n coalitions of n blocks take about
            two blocks each instead of n.
        pass_seconds: how long one variant takes on all examples.
        seconds: for the whole plan; None sets no limit.
    """

    def allowed(part: str) -> float:
        return float("inf") if seconds is None else _SHARES[part] * seconds

    def step(part: str, passes: float, fewest: int = FEWEST) -> int:
        found = 1
        while examples // (2 * found) >= fewest and passes * pass_seconds / found > allowed(part):
            found *= 2
        return found

    passes = (2 ** (blocks + 1) - 2) / blocks if shared else 2**blocks
    steps = {
        "blocks": step("blocks", passes, _FEWEST_EXACT),
        "kinds": step("kinds", 2**kinds if kinds <= MOST_KINDS else 0),
        "patterns": step("patterns", patterns),
        "sparsity": step("sparsity", SPARSITIES),
    }
    exact = blocks <= AUTO_EXACT and passes * pass_seconds / steps["blocks"] <= 2 * allowed("blocks")
    orders, samples = _ORDERS[1], _MASKS[1]
    if not exact:
        steps["blocks"] = step("blocks", float("inf") if seconds is not None else 0, _SAMPLED)
        one = max(pass_seconds / steps["blocks"], 1e-9)
        orders = _between(_ORDERS, allowed("blocks") / (blocks * one))
        samples = _between(_MASKS, allowed("stability") / (blocks * one))
    steps["stability"] = steps["blocks"]  # on the same examples: most of its masks were scored before
    variants = {
        "blocks": 2**blocks if exact else orders * blocks,
        "kinds": 2**kinds if 1 < kinds <= MOST_KINDS else 0,
        "patterns": patterns,
        "sparsity": SPARSITIES,
        "stability": 0 if exact else samples * (blocks - 1),
    }
    return Plan(exact, orders, samples, steps, variants)


def _between(limits: tuple[int, int], value: float) -> int:
    return max(limits[0], limits[1] if value > limits[1] else int(value))
