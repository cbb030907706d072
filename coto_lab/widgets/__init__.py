"""Views for notebooks. They are thin: they call the same functions as a script."""

from coto_lab.widgets.drawing_pad import DrawingPad
from coto_lab.widgets.game import GameBoard
from coto_lab.widgets.interpolation import InterpolationExplorer
from coto_lab.widgets.live import LiveTraining
from coto_lab.widgets.method_explorer import MethodExplorer
from coto_lab.widgets.method_table import MethodTable
from coto_lab.widgets.mixing_desk import MixingDesk
from coto_lab.widgets.predict import Prediction
from coto_lab.widgets.scale import ScaleExplorer
from coto_lab.widgets.schedule import ScheduleExplorer
from coto_lab.widgets.simplex import SimplexExplorer
from coto_lab.widgets.switchboard import Switchboard

__all__ = [
    "DrawingPad",
    "GameBoard",
    "InterpolationExplorer",
    "LiveTraining",
    "MethodExplorer",
    "MethodTable",
    "MixingDesk",
    "Prediction",
    "ScaleExplorer",
    "ScheduleExplorer",
    "SimplexExplorer",
    "Switchboard",
]
