"""Six tasks on one base, and adapters that were trained on each of them apart: what is merged.

Every task has an adapter of LoRA and one of CoTo for each of five seeds. Those of three string tasks are the gallery's; all
others are here, and beside them adapters that were trained on all six tasks together: the joint training is what a merged
adapter may hope for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from coto_lab.adapters.adapter import Adapter
from coto_lab.gating.schedules import Constant, Linear
from coto_lab.ground.files import data_path, read_json
from coto_lab.studies.gallery import check_files, load_adapters, load_half
from coto_lab.studies.legs import STRINGS
from coto_lab.tasks import load_task
from coto_lab.tasks.characters import CHARACTERS, PAD
from coto_lab.tasks.joint import Joint
from coto_lab.tasks.shifted_glyphs import TASKS as SHIFTED
from coto_lab.training.recipe import Recipe

WAYS = ("LoRA", "CoTo")
SEEDS = range(5)
SWEEP_SEED = 5
RATES = (5e-3, 1e-2, 2e-2, 4e-2)
FOLDER = "merging"
TABLE = "merging.json"
JOINT = "joint"


@dataclass(frozen=True)
class TaskSet:
    """Tasks to be merged, and how an adapter of each is trained.

    Attributes:
        name: what reports call it.
        tasks: names for `load_task`.
        recipe: of plain LoRA, but for a learning rate that a sweep chooses.
        joint_steps: how long one adapter is trained on all tasks together.
        swept: whether the learning rates were chosen here (`RATES`); where not, the recipe's rate stands.
        padding: as in `Joint`.
        measure: what is compared, a key of `Scores.values`.
        most: test examples of each task that are scored at most.
    """

    name: str
    tasks: tuple[str, ...]
    recipe: Recipe
    joint_steps: int
    swept: bool
    padding: Mapping[str, int]
    measure: str
    most: int

    def joint(self) -> Joint:
        """All tasks as one."""
        return Joint([load_task(name) for name in self.tasks], f"{self.name}/{JOINT}", self.padding)


GLYPHS = TaskSet(
    "digits",
    tuple(f"glyphs/{name}" for name in SHIFTED),
    Recipe(),
    joint_steps=1600,
    swept=True,
    padding={},
    measure="correct",
    most=432,
)
# Three of these tasks are those of the gallery, with its runs.
TEXTS = TaskSet(
    "strings",
    (*STRINGS.tasks, "strings/swap-pairs", "strings/even-places", "strings/larger-number"),
    STRINGS.methods["LoRA"],
    joint_steps=2400,
    swept=False,
    padding={"input_ids": CHARACTERS.index(PAD), "targets": -100},
    measure="characters",  # six merged adapters hardly ever write a whole answer
    most=256,
)
TASK_SETS = {own.name: own for own in (GLYPHS, TEXTS)}


def recipe_of(tasks: TaskSet, way: str, lr: float, seed: int, *, joint: bool = False) -> Recipe:
    """The recipe of one adapter, ``"LoRA"`` or ``"CoTo"``."""
    steps = tasks.joint_steps if joint else tasks.recipe.steps
    schedule = Linear() if way == "CoTo" else Constant()
    return replace(tasks.recipe, schedule=schedule, steps=steps, lr=lr, seed=seed)


def adapter_name(task: str, way: str, seed: int) -> str:
    """The folder of an adapter in the gallery: ``"merging/glyphs/turned/coto-seed0"``."""
    return f"{FOLDER}/{task}/{way.lower()}-seed{seed}"


def table() -> dict[str, Any]:
    """What was measured; ``data/make_merging.py`` says what it holds."""
    return read_json(data_path("gallery", TABLE))


def load_task_adapters(tasks: TaskSet, way: str, seed: int) -> list[Adapter]:
    """The adapters of all tasks, each trained by itself with ``"LoRA"`` or ``"CoTo"``, in the order of ``tasks.tasks``.

    Raises:
        ValueError: there is no such way or seed, or a file is missing or differs from the one that was made.
    """
    return [_load(tasks, name, way, seed) for name in tasks.tasks]


def load_joint_adapter(tasks: TaskSet, way: str, seed: int) -> Adapter:
    """The adapter that was trained on all tasks together.

    Raises:
        ValueError: as for `load_task_adapters`.
    """
    return _load(tasks, f"{tasks.name}/{JOINT}", way, seed)


def _load(tasks: TaskSet, name: str, way: str, seed: int) -> Adapter:
    if way not in WAYS or seed not in SEEDS:
        raise ValueError(f"way={way!r}, seed={seed!r}: there are {', '.join(map(repr, WAYS))} with the seeds 0 to {SEEDS[-1]}.")
    if name in STRINGS.tasks:
        return load_adapters(way, name)[seed]
    own = table()
    folder = data_path("gallery") / adapter_name(name, way, seed)
    files = {folder / file: expected for file, expected in own["sha256"][adapter_name(name, way, seed)].items()}
    check_files(files, make="make merging")
    return load_half(folder, own["sets"][tasks.name]["base"])
