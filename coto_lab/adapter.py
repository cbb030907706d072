"""An adapter as data: its PEFT configuration and its tensors, apart from any model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

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
    def from_model(cls, model: PeftModel) -> Adapter:
        """A copy of the active adapter of ``model``, on the CPU."""
        from peft import get_peft_model_state_dict

        name = model.active_adapter
        config = _plain(model.peft_config[name].to_dict())
        config["inference_mode"] = True
        tensors = get_peft_model_state_dict(model, adapter_name=name, save_embedding_layers=False)
        return cls(config, {key: tensor.detach().cpu().clone().contiguous() for key, tensor in tensors.items()})

    def attach(self, base: PreTrainedModel) -> PeftModel:
        """``base`` with this adapter on it, frozen and in evaluation mode; `base` itself is changed by PEFT."""
        from peft import get_peft_model

        model = get_peft_model(base, self.peft_config())
        self.copy_to(model)
        return model.requires_grad_(False).eval()

    def copy_to(self, model: PeftModel) -> None:
        """Write the tensors into a model that carries an adapter of the same configuration.

        Raises:
            ValueError: names or shapes differ; the model is as before.
        """
        from peft import get_peft_model_state_dict, set_peft_model_state_dict

        own = {key: tensor.shape for key, tensor in get_peft_model_state_dict(model, save_embedding_layers=False).items()}
        new = {key: tensor.shape for key, tensor in self.tensors.items()}
        differences = [f"{key}: {new.get(key)} for {own.get(key)}" for key in own | new if new.get(key) != own.get(key)]
        if differences:
            raise ValueError(
                f"this adapter does not fit the model ({len(differences)} tensors differ, first {differences[0]}). Use the "
                "base model and the configuration that it was trained with."
            )
        set_peft_model_state_dict(model, self.tensors)

    def peft_config(self) -> Any:
        """The configuration as PEFT's own object, for whatever base model it is put on."""
        from peft import PeftConfig

        return PeftConfig.from_peft_type(**self.config | {"base_model_name_or_path": None})

    def save(self, folder: Path) -> None:
        """Write ``adapter_config.json`` and ``adapter_model.safetensors`` into an existing folder."""
        from safetensors.torch import save_file

        save_file(self.tensors, folder / WEIGHTS, metadata={"format": "pt"})
        (folder / CONFIG).write_text(json.dumps(self.config, indent=2, sort_keys=True) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Adapter:
        """Read what `save`, or PEFT's ``save_pretrained``, wrote.

        Raises:
            ValueError: a file is missing, truncated or not what its name says.
        """
        return cls(read_json(folder / CONFIG), read_tensors(folder / WEIGHTS)[0])


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; ValueError names the file and the fault."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{str(path)!r} cannot be read as JSON: {error}. Is this a finished run or adapter folder?") from error
    if not isinstance(content, dict):
        raise ValueError(f"{str(path)!r} holds a {type(content).__name__}, not an object.")
    return content


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file; ValueError names the file and the fault."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise ValueError(
            f"{str(path)!r} cannot be read as safetensors: {error}. Is it truncated, or of another format?"
        ) from error


def _plain(value: Any) -> Any:
    """JSON values in a fixed order: sets become sorted lists, enumerations their values."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(_plain(item) for item in value)
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return getattr(value, "value", value)
