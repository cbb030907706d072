"""Plotly figures, pure functions of records: a probe's record goes in, a figure comes out."""

from coto_lab.figures._style import CONFIG, STYLES
from coto_lab.figures.images import image_figure
from coto_lab.figures.interpolation import interpolation_figure
from coto_lab.figures.pruning import pruning_figure
from coto_lab.figures.schedule import schedule_figure
from coto_lab.figures.training import training_figure

__all__ = [
    "CONFIG", "STYLES", "image_figure", "interpolation_figure", "pruning_figure", "schedule_figure", "training_figure",
]  # fmt: skip
