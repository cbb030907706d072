"""Many trainings at once: on one shared frozen base where they can, side by side in processes where they cannot."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from coto_lab._numbers import whole_number
from coto_lab.adapter import Adapter
from coto_lab.coto import training_masks
from coto_lab.device import default_device
from coto_lab.history import History
from coto_lab.randomness import OwnRandomNumbers, batch_indices
from coto_lab.recipe import Recipe
from coto_lab.rows import Rows
from coto_lab.run import Run
from coto_lab.tasks import Task
from coto_lab.training import Training
