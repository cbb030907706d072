"""One adapter from several: `merge` and its rules, `fit_merge` that learns from data, and retrieval for each input."""

from coto_lab.merging.core_space import CoreSpace
from coto_lab.merging.dare import Dare
from coto_lab.merging.ensemble import Ensemble
from coto_lab.merging.fit_merge import fit_merge
from coto_lab.merging.fuse import Fuse
from coto_lab.merging.lego import Lego
from coto_lab.merging.lora_star import LoRAStar
from coto_lab.merging.magnitude import Magnitude
from coto_lab.merging.retrieval import Retriever, choose, score_retrieved
from coto_lab.merging.rule import Rule, UpdateRule
from coto_lab.merging.svd import Svd
from coto_lab.merging.task_arithmetic import TaskArithmetic
from coto_lab.merging.ties import Ties
from coto_lab.merging.zip import Zip

__all__ = [
    "CoreSpace", "Dare", "Ensemble", "Fuse", "Lego", "LoRAStar", "Magnitude", "Retriever", "Rule", "Svd", "TaskArithmetic",
    "Ties", "UpdateRule", "Zip", "choose", "fit_merge", "score_retrieved",
]  # fmt: skip
