"""An adapter as data: its PEFT configuration and its tensors, without a model."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from coto_lab.adapters.active import read_active, write_active
from coto_lab.adapters.peft_model import add_adapter
from coto_lab.ground.files import new_folder, read_json, read_tensors

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

# What of a configuration does not decide the adapter's function: where it came from ...
_ORIGIN = {
    "base_model_name_or_path", "revision", "task_type", "auto_mapping", "peft_version", "inference_mode", "runtime_config",
}  # fmt: skip
_TARGETS = {  # ... what is seen in the names and shapes of its tensors ...
    "target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "modules_to_save", "rank_pattern",
}  # fmt: skip
_STARTS = (True, False, "gaussian", "orthogonal")  # ... and initialisations that leave the base weights alone.

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"


@dataclass(frozen=True, eq=False)
class Adapter:
    """A PEFT adapter state; a folder written by `save` is one that ``PeftModel.from_pretrained`` reads.

    Attributes:
        config: the PEFT configuration as plain JSON values.
        tensors: parameters by PEFT's names, e.g. ``base_model.model.vit.layers.0.attention.q_proj.lora_A.weight``
            of shape ``[r, in]``.
    """

    config: dict[str, Any]
    tensors: dict[str, Tensor]

    @classmethod
    def from_model(cls, model: PeftModel | PreTrainedModel) -> Adapter:
        """A copy of the active adapter of ``model``, on the CPU; a merged adapter is read as any other.

        Args:
            model: a PEFT model, or a transformers model after ``add_adapter``; the adapter may have any name.

        Raises:
            ValueError: ``model`` has no adapter, or not exactly one is active; ``model.set_adapter(name)`` chooses one.
        """
        name, tensors = read_active(model)
        config = _plain(model.peft_config[name].to_dict())
        config["inference_mode"] = True
        return cls(config, {key: tensor.detach().cpu().clone().contiguous() for key, tensor in tensors.items()})

    def attach(self, base: PreTrainedModel) -> PeftModel:
        """``base`` with this adapter on it, frozen and in evaluation mode; `base` itself is changed by PEFT.

        Raises:
            ValueError: ``base`` carries an adapter already, or this adapter does not fit it.
        """
        from peft.tuners.tuners_utils import BaseTunerLayer

        if layer := next((name for name, module in base.named_modules() if isinstance(module, BaseTunerLayer)), None):
            raise ValueError(
                f"base already carries an adapter, in {layer}. Load the base model again, or use copy_to, which writes into "
                "the adapter that is there."
            )
        model = add_adapter(base, self.peft_config())
        self.copy_to(model)
        return model.requires_grad_(False).eval()

    def copy_to(self, model: PeftModel | PreTrainedModel) -> None:
        """Write the tensors into the active adapter of ``model``, whatever its name; no other adapter is touched.

        Args:
            model: a PEFT model, or a transformers model after ``add_adapter``; its active adapter has the configuration of
                this one.

        Raises:
            ValueError: ``model`` has no adapter, or not exactly one is active, or one is merged, or names, shapes or
                configurations differ; the model is as before.
        """
        name, tensors = read_active(model)
        theirs, ours = function_of(_plain(model.peft_config[name].to_dict())), function_of(self.config)
        if other := sorted(key for key in theirs | ours if theirs.get(key) != ours.get(key)):
            raise ValueError(
                f"this adapter does not fit the model: its {other[0]} is {ours.get(other[0])!r}, that of the model's adapter "
                f"{name!r} is {theirs.get(other[0])!r}, so the tensors would compute something else. Use the configuration "
                "that it was trained with."
            )
        own = {key: tensor.shape for key, tensor in tensors.items()}
        new = {key: tensor.shape for key, tensor in self.tensors.items()}
        differences = [f"{key}: {new.get(key)} for {own.get(key)}" for key in own | new if new.get(key) != own.get(key)]
        if differences:
            raise ValueError(
                f"this adapter does not fit the model ({len(differences)} tensors differ, first {differences[0]}). Use the "
                "base model and the configuration that it was trained with."
            )
        write_active(model, name, self.tensors)

    def factors(self) -> dict[str, tuple[Tensor, Tensor]]:
        """The update of every module as a product ΔW = B A, the scale in B: name -> (A ``[r, in]``, B ``[out, r]``).

        Names are PEFT's: ``base_model.model.`` and the module's.

        Raises:
            ValueError: the adapter is more than plain LoRA of one rank (DoRA, HiRA, trained biases, rewritten base, ...).
        """
        from peft import LoraConfig

        names = sorted({key.rsplit(".lora_", 1)[0] for key in self.tensors})
        pairs = {f"{name}.lora_{factor}.weight" for name in names for factor in "AB"}
        usual = function_of(LoraConfig().to_dict())
        found = {key: value for key, value in function_of(self.config).items() if usual.get(key) != value}
        unusual = {key: value for key, value in found.items() if key not in ("peft_type", "r", "lora_alpha", "use_rslora")}
        if patterns := self.config.get("rank_pattern"):
            unusual["rank_pattern"] = patterns
        if self.config.get("peft_type") != "LORA" or unusual or pairs != self.tensors.keys():
            what = ", ".join([*(f"{key}={value}" for key, value in unusual.items()), *sorted(self.tensors.keys() - pairs)[:2]])
            raise ValueError(
                f"the updates of this adapter must be s·BA alone, all of one rank, but this is {self.config.get('peft_type')}"
                f"{' with ' + what if what else ''}."
            )
        rank = self.config["r"]
        if mismatched := [name for name in names if len(self.tensors[f"{name}.lora_A.weight"]) != rank]:
            raise ValueError(f"the configuration says rank r={rank}, but {mismatched[0]} has another.")
        scale = self.config["lora_alpha"] / (math.sqrt(rank) if self.config.get("use_rslora") else rank)
        return {name: (self.tensors[f"{name}.lora_A.weight"], self.tensors[f"{name}.lora_B.weight"] * scale) for name in names}

    def peft_config(self) -> Any:
        """The configuration as PEFT's own object, for whatever base model it is put on."""
        from peft import PeftConfig

        return PeftConfig.from_peft_type(**self.config | {"base_model_name_or_path": None})

    def save(self, folder: str | Path) -> None:
        """Write ``adapter_config.json`` and ``adapter_model.safetensors`` into ``folder``, which is made if it is missing.

        As with PEFT's ``save_pretrained``, files of these two names are replaced and all others stay. Both are written before
        either is replaced, and an error leaves the earlier two in place.

        Raises:
            OSError: the disk is full or not writable; nothing was changed.
            RuntimeError: an error while the files were replaced could not be undone; it names the folder of the earlier ones.
        """
        with new_folder(Path(folder), overwrite=True) as fresh:
            self.write_files(fresh)

    def write_files(self, folder: Path) -> None:
        """Write the two files straight into an existing folder, for callers that replace a folder themselves; see `save`."""
        from safetensors.torch import save_file

        save_file(self.tensors, folder / WEIGHTS, metadata={"format": "pt"})
        (folder / CONFIG).write_text(json.dumps(self.config, indent=2, sort_keys=True) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> Adapter:
        """Read what `save`, or PEFT's ``save_pretrained``, wrote.

        Raises:
            ValueError: a file is missing, truncated or not what its name says.
        """
        folder = Path(folder)
        return cls(read_json(folder / CONFIG), read_tensors(folder / WEIGHTS)[0])


def function_of(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration fields that change the adapter's output; an empty one counts as missing (PEFT's versions differ)."""
    return {
        key: value
        for key, value in config.items()
        if value
        and key not in _ORIGIN | _TARGETS
        and not key.endswith("dropout")
        and not (key.startswith("init_") and value in _STARTS)
    }


def _plain(value: Any) -> Any:
    """JSON values in a fixed order: sets become sorted lists, enumerations their values."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(_plain(item) for item in value)
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return getattr(value, "value", value)
