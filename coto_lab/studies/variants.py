"""The comparison of variants: every method of adaptation, plain and with CoTo, on the digits and on one task of the strings.

Each method has about as many trained numbers as LoRA of rank 4, or, where it cannot have so many, the options of its paper.
Each has a sweep of its own over learning rates, plain and with CoTo. The rule of the sweep was fixed before the first run; the
grid was shortened after the first four parts, as section 14 of EVIDENCE.md says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from coto_lab.adapters.adapter import Adapter
from coto_lab.adapters.methods.boft import BOFT
from coto_lab.adapters.methods.lokr import LoKr
from coto_lab.adapters.methods.lora_pro import LoRAPro
from coto_lab.adapters.methods.method import Method
from coto_lab.adapters.methods.oft import OFT
from coto_lab.gating.schedules import Constant, Linear
from coto_lab.ground.files import data_path, read_json
from coto_lab.studies.gallery import check_files, load_half
from coto_lab.training.recipe import Recipe

TABLE = "variants.json"
FOLDER = "variants"  # of the adapters, in the gallery
PLAIN, COTO = "plain", "CoTo"
WAYS = (PLAIN, COTO)
TASKS = {"digits": "digits", "strings": "strings/rotate-back"}
STEPS = {"digits": 400, "strings": 300}
RATES = (3e-3, 1e-2, 3e-2)  # halves of a factor of ten; `next_rate` goes on beyond an end that is best
FARTHEST = (1e-5, 1e2)
SWEEP_SEEDS = range(5, 6)
SEEDS = range(5)
KEPT_SEED = 0  # whose adapters ship


@dataclass(frozen=True)
class Entry:
    """A method in the comparison.

    Attributes:
        method: as in `Recipe`.
        rank: ``Recipe.r`` on each leg; the default is that of LoRA.
        alpha: ``Recipe.alpha``.
        at: what was held equal to LoRA, in words.
    """

    method: str | Method
    rank: Mapping[str, int] = field(default_factory=dict)
    alpha: float = 8.0
    at: str = "equal rank"


ENTRIES: dict[str, Entry] = {
    "LoRA": Entry("lora", at="rank 4"),
    "rsLoRA": Entry("rslora"),
    "LoRA+": Entry("lora-plus"),
    "PiSSA": Entry("pissa"),
    "OLoRA": Entry("olora"),
    "LoRA-Pro": Entry("lora-pro"),
    "LoRA-Pro, SGD": Entry(LoRAPro(form="sgd")),
    "DoRA": Entry("dora"),
    "HiRA": Entry("hira"),
    "LoHa": Entry("loha", rank={"digits": 2, "strings": 2}, alpha=4.0, at="equal parameters"),
    "LoKr": Entry(LoKr(decompose_factor=2), rank={"digits": 8, "strings": 8}, alpha=16.0, at="equal parameters"),
    "OFT": Entry(OFT(block_size=16), at="nearly equal parameters"),
    "BOFT": Entry(BOFT(block_size=8), at="nearly equal parameters"),
    "VeRA": Entry("vera", rank={"digits": 256, "strings": 256}, at="its paper's rank"),
    "MiSS": Entry("miss", rank={"digits": 8, "strings": 8}, at="equal parameters"),
    "RandLoRA": Entry("randlora", rank={"digits": 8, "strings": 16}, at="nearly equal parameters"),
    "IA3": Entry("ia3", at="it has one size only"),
}


def recipe_of(leg: str, name: str, way: str, lr: float, seed: int) -> Recipe:
    """The recipe of an entry on a leg, ``"plain"`` or with ``"CoTo"``."""
    entry = ENTRIES[name]
    return Recipe(
        method=entry.method,
        r=entry.rank.get(leg, 4),
        alpha=entry.alpha,
        schedule=Linear() if way == COTO else Constant(),
        steps=STEPS[leg],
        lr=lr,
        seed=seed,
    )


def best_rate(scores: Mapping[float, Sequence[float]]) -> float:
    """The rate with the highest mean; of equal ones the lowest."""
    return max(sorted(scores), key=lambda lr: sum(scores[lr]) / len(scores[lr]))


def next_rate(scores: Mapping[float, Sequence[float]]) -> float | None:
    """The rate to try next: one step beyond the end of the grid that is best so far; None where the best is inside."""
    rates, best = sorted(scores), best_rate(scores)
    if best not in (rates[0], rates[-1]):
        return None
    ones = f"{best:.0e}".startswith("1")  # ..., 0.01, 0.03, 0.1, ...
    step = 0.3 if ones and best == rates[0] else 1 / 3 if best == rates[0] else 3 if ones else 10 / 3
    beyond = float(f"{best * step:.0e}")
    return beyond if FARTHEST[0] <= beyond <= FARTHEST[1] else None


def run_name(leg: str, name: str, way: str) -> str:
    """The folder of a kept adapter, such as ``"variants/digits/lora-pro-sgd-coto"``."""
    kept = "".join(c if c.isalnum() else "-" for c in name.lower().replace("+", "-plus").replace(", ", "-"))
    return f"{FOLDER}/{leg}/{kept}-{way.lower()}"


def table() -> dict[str, Any]:
    """What was measured: ``runs`` is leg -> method -> way -> scores; ``data/make_variants.py`` says what they are."""
    return read_json(data_path("gallery", TABLE))


def load_variant(leg: str, name: str, way: str) -> Adapter:
    """The kept adapter of a method on a leg, ``"plain"`` or with ``"CoTo"``, at its best learning rate, seed `KEPT_SEED`.

    Raises:
        ValueError: there is no such leg, method or way; or a file is missing or differs from the one that was made.
    """
    legs = table()["legs"]
    for argument, value, known in (("leg", leg, legs), ("name", name, ENTRIES), ("way", way, WAYS)):
        if value not in known:
            raise ValueError(f"{argument}={value!r}: not in the comparison; there is {', '.join(map(repr, known))}.")
    gallery, folder = data_path("gallery"), run_name(leg, name, way)
    expected = {gallery / file: own for file, own in legs[leg]["sha256"].items() if file.startswith(f"{folder}/")}
    check_files(expected, make="make variants")
    return load_half(gallery / folder, legs[leg]["base"])
