"""coto_lab: a laboratory for progressive LoRA training (CoTo, ICML 2025).

Importing it loads torch and numpy only; PEFT, transformers, datasets, plotly and ipywidgets load when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coto_lab.adapters.adapter import Adapter
from coto_lab.adapters.lora import LoRALinear
from coto_lab.gating.coto import CoTo
from coto_lab.gating.gates import Gates, attach_gates, gates_of
from coto_lab.gating.schedules import Constant, Exponential, Linear, Schedule, Sine
from coto_lab.merging.merge import merge
from coto_lab.probes.estimate import estimate
from coto_lab.probes.interpolation import interpolate
from coto_lab.probes.pruning import prune
from coto_lab.probes.shapley import shapley
from coto_lab.probes.stability import stability
from coto_lab.scoring.evaluator import Evaluator
from coto_lab.scoring.scores import Scores
from coto_lab.scoring.variant import Variant
from coto_lab.tasks import Classification, Task, load_task
from coto_lab.training.loop import Training, fit
from coto_lab.training.many import fit_many
from coto_lab.training.recipe import Recipe
from coto_lab.training.run import Run

if TYPE_CHECKING:
    from coto_lab.gating.callback import CoToCallback

__all__ = [
    "Adapter", "Classification", "CoTo", "CoToCallback", "Constant", "Evaluator", "Exponential", "Gates", "Linear",
    "LoRALinear", "Recipe", "Run", "Schedule", "Scores", "Sine", "Task", "Training", "Variant", "attach_gates", "estimate",
    "fit", "fit_many", "gates_of", "interpolate", "load_task", "merge", "prune", "shapley", "stability",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name == "CoToCallback":  # it subclasses a class of transformers, whose import takes seconds
        from coto_lab.gating.callback import CoToCallback

        return CoToCallback
    raise AttributeError(f"module 'coto_lab' has no attribute {name!r}")
