"""Plotly figures as pure functions: each function takes records of probes and returns a figure."""

from coto_lab.figures.attention import attention_figure
from coto_lab.figures.conflicts import conflicts_figure
from coto_lab.figures.cost import cost_figure, step_cost_figure
from coto_lab.figures.first_step import first_step_figure
from coto_lab.figures.game import game_figure
from coto_lab.figures.geometry import cosine_figure, embedding_figure
from coto_lab.figures.glyph_sheet import glyph_sheet_figure
from coto_lab.figures.gradients import gradient_balance_figure
from coto_lab.figures.growth import growth_figure
from coto_lab.figures.images import image_figure
from coto_lab.figures.interpolation import interpolation_figure
from coto_lab.figures.marginals import owen_figure
from coto_lab.figures.memory import memory_figure
from coto_lab.figures.merged_counts import merged_counts_figure
from coto_lab.figures.method_gains import gains_figure
from coto_lab.figures.method_update import layer_update_figure
from coto_lab.figures.pruning import pruning_figure
from coto_lab.figures.readings import readings_figure
from coto_lab.figures.schedule import plan_figure, ramp_figure, schedule_figure
from coto_lab.figures.shapley import shapley_figure, shapley_map_figure
from coto_lab.figures.simplex import simplex_figure
from coto_lab.figures.sparsity import sparsity_figure
from coto_lab.figures.spread import spread_figure
from coto_lab.figures.stability import barrier_figure, jensen_figure, stability_figure
from coto_lab.figures.style import CONFIG, STYLES
from coto_lab.figures.sweep import sweep_figure
from coto_lab.figures.switchboard import switchboard_figure
from coto_lab.figures.task_bars import task_bars_figure
from coto_lab.figures.task_examples import task_examples_figure
from coto_lab.figures.training import training_figure
from coto_lab.figures.update import update_figure
from coto_lab.figures.variants import variants_figure

__all__ = [
    "CONFIG", "STYLES", "attention_figure", "barrier_figure", "conflicts_figure", "cosine_figure", "cost_figure",
    "embedding_figure", "first_step_figure", "gains_figure", "game_figure", "glyph_sheet_figure",
    "gradient_balance_figure", "growth_figure", "image_figure", "interpolation_figure", "jensen_figure",
    "layer_update_figure", "memory_figure", "merged_counts_figure", "owen_figure", "plan_figure", "pruning_figure",
    "ramp_figure", "readings_figure", "schedule_figure", "shapley_figure", "shapley_map_figure", "simplex_figure",
    "sparsity_figure", "spread_figure", "stability_figure", "step_cost_figure", "sweep_figure", "switchboard_figure",
    "task_bars_figure", "task_examples_figure", "training_figure", "update_figure", "variants_figure",
]  # fmt: skip
