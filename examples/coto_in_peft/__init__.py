"""CoTo as a variant of LoRA inside PEFT: what a patch would hold, on PEFT's extension points (``pages/peft.md``)."""

from .blocks import CotoBlocks, open_blocks
from .callback import CotoCallback
from .config import CotoConfig
from .variant import CotoLinearVariant

__all__ = ["CotoBlocks", "CotoCallback", "CotoConfig", "CotoLinearVariant", "open_blocks"]
