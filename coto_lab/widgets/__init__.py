"""Views for notebooks: thin, over functions that a script calls too."""

from coto_lab.widgets.live import LiveTraining
from coto_lab.widgets.predict import Prediction

__all__ = ["LiveTraining", "Prediction"]
