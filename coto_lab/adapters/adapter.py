"""An adapter as data: its PEFT configuration and its tensors, without a model."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from coto_lab.adapters.active import read_active, write_active
from coto_lab.adapters.configuration import check_start, function_of, json_values
from coto_lab.adapters.methods.lora import more_than_a_product
from coto_lab.adapters.methods.method import Method, merged_update
from coto_lab.adapters.methods.registry import method_of
from coto_lab.adapters.names import PREFIX, adapted_modules, module_of
from coto_lab.adapters.peft_model import add_adapter
from coto_lab.ground.files import new_folder, read_json, read_tensors, sha256
from coto_lab.ground.randomness import OwnRandomNumbers
from coto_lab.ground.versions import version_of

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
RUN = "run.json"  # beside them in the folder of a `Run`; it tells the base


@dataclass(frozen=True, eq=False)
class Adapter:
    """A PEFT adapter state; a folder written by `save` is one that ``PeftModel.from_pretrained`` reads.

    Attributes:
        config: the PEFT configuration as plain JSON values.
        tensors: parameters by PEFT's names, e.g. ``base_model.model.vit.layers.0.attention.q_proj.lora_A.weight``
            of shape ``[r, in]``.
        base: identity of the base model it was trained on (`Task.base`), or None where it is not known.

    Raises:
        ValueError: there are no tensors.
    """

    config: dict[str, Any]
    tensors: dict[str, Tensor]
    base: str | None = None

    def __post_init__(self) -> None:
        if not self.tensors:
            raise ValueError(
                f"tensors={self.tensors!r}: this {self.config.get('peft_type')} adapter holds no tensors, so it does nothing. "
                "Save it again from the model that was trained (Adapter.from_model)."
            )

    @classmethod
    def from_model(cls, model: PeftModel | PreTrainedModel) -> Adapter:
        """A copy of the active adapter of ``model``, on the CPU; a merged adapter is read as any other.

        Args:
            model: a PEFT model, or a transformers model after ``add_adapter``; the adapter may have any name.

        Raises:
            ValueError: ``model`` has no adapter, or not exactly one is active; ``model.set_adapter(name)`` chooses one.
        """
        name, tensors = read_active(model)
        config = json_values(model.peft_config[name].to_dict())
        config["inference_mode"] = True
        return cls(config, {key: tensor.detach().cpu().clone().contiguous() for key, tensor in tensors.items()})

    def attach(self, base: PreTrainedModel) -> PeftModel:
        """``base`` with this adapter on it, frozen and in evaluation mode; `base` itself is changed by PEFT.

        torch's global random state is left untouched.

        Raises:
            ValueError: ``base`` carries an adapter already, or this adapter does not fit it, or it began in a way that PEFT
                cannot repeat (`check_start`).
        """
        from peft.tuners.tuners_utils import BaseTunerLayer

        if layer := next((name for name, module in base.named_modules() if isinstance(module, BaseTunerLayer)), None):
            raise ValueError(
                f"base already carries an adapter, in {layer}. Load the base model again, or use copy_to, which writes into "
                "the adapter that is there."
            )
        check_start(self.config)
        device = next(base.parameters()).device
        with OwnRandomNumbers(0, device).active():  # PEFT draws factors, which those of the adapter replace
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
        theirs, ours = function_of(json_values(model.peft_config[name].to_dict())), function_of(self.config)
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

    @property
    def method(self) -> Method | None:
        """The method of this adapter, by its configuration; None where no method of `coto_lab.adapters.methods` knows it."""
        return method_of(self.config)

    @property
    def modules(self) -> tuple[str, ...]:
        """The base's own names of the adapted modules, read from the tensors' names; numbers in them sort as numbers.

        Modules that were trained whole (PEFT's ``modules_to_save``) are not among them. Of a method whose layers share all
        tensors (UniLoRA), and of one without adapter layers (prompt tuning), there are none.
        """
        from peft.mapping import PEFT_TYPE_TO_PREFIX_MAPPING

        tag = PEFT_TYPE_TO_PREFIX_MAPPING.get(self.config.get("peft_type"))
        return adapted_modules(self.tensors, tag) if tag else ()

    def apart(self) -> tuple[Adapter, dict[str, Tensor]]:
        """The adapter without the modules that were trained whole, and their tensors by the base's own names, if there are any.

        PEFT's ``modules_to_save`` names these modules, such as a new head. Together the two parts are this adapter.
        """
        from peft.mapping import PEFT_TYPE_TO_PREFIX_MAPPING

        if not self.config.get("modules_to_save"):
            return self, {}
        tag = PEFT_TYPE_TO_PREFIX_MAPPING.get(self.config.get("peft_type"), "")
        whole = {key: tensor for key, tensor in self.tensors.items() if not module_of(key, tag)}
        rest = {key: tensor for key, tensor in self.tensors.items() if key not in whole}
        plain = replace(self, config=self.config | {"modules_to_save": None}, tensors=rest)
        return plain, {key.removeprefix(PREFIX): tensor for key, tensor in whole.items()}

    def factors(self) -> dict[str, tuple[Tensor, Tensor]]:
        """The update of every module as a product ΔW = B A, the scale in B: name -> (A ``[r, in]``, B ``[out, r]``).

        Names are PEFT's: ``base_model.model.`` and the module's.

        Raises:
            ValueError: the adapter is more than plain LoRA of one rank (DoRA, HiRA, trained biases, rewritten base, ...), or
                holds modules that were trained whole (see `apart`).
        """
        method = self.method
        factors = None if method is None else method.factors(self)
        if factors is None:
            raise ValueError(more_than_a_product(self))
        return factors

    def update(self, base: PreTrainedModel) -> dict[str, Tensor]:
        """What the adapter adds to the weight of every adapted module of ``base``, which stays as it is.

        Returns:
            The base's own name of each adapted module -> ΔW, float32 at least: ``[out, in]`` for linear layers (also for
            transformers' ``Conv1D``, which stores the transpose), of the weight's shape for all others.

        Raises:
            ValueError: the adapter does not fit ``base``, or its method has no ΔW that PEFT can merge.
        """
        method = self.method
        return merged_update(self, base) if method is None else method.update(self, base)

    def peft_config(self) -> Any:
        """The configuration as PEFT's own object, for whatever base model it is put on.

        Raises:
            ValueError: the installed PEFT does not know its ``peft_type``.
        """
        from peft import PeftConfig
        from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

        kind = self.config.get("peft_type")
        if kind not in PEFT_TYPE_TO_CONFIG_MAPPING:
            known = ", ".join(sorted(PEFT_TYPE_TO_CONFIG_MAPPING))
            raise ValueError(
                f"config['peft_type']={kind!r}: the installed PEFT {version_of('peft')} knows {known}. Install the version "
                "of PEFT that made this adapter, or correct its configuration."
            )
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
        """Read what `save`, or PEFT's ``save_pretrained``, wrote; the base is known where a run was saved (`Run.save`).

        Raises:
            ValueError: a file is missing, truncated, empty or not what its name says.
        """
        folder = Path(folder)
        config, tensors = read_json(folder / CONFIG), read_tensors(folder / WEIGHTS)[0]
        if not isinstance(config.get("peft_type"), str):
            raise ValueError(
                f"{str(folder / CONFIG)!r} is no configuration of a PEFT adapter: peft_type is {config.get('peft_type')!r}. "
                "Give a folder that Run.save, Adapter.save or PEFT's save_pretrained wrote."
            )
        if not tensors:
            raise ValueError(f"{str(folder / WEIGHTS)!r} holds no tensors. Save the adapter again from its model.")
        base = read_json(folder / RUN).get("base") if is_of_run(folder) else None
        return cls(config, tensors, base if isinstance(base, str) else None)


def is_of_run(folder: Path) -> bool:
    """Whether the adapter in a folder is that of the run there: none, or another adapter, may have been saved over it since."""
    if not ((folder / RUN).exists() and (folder / WEIGHTS).exists()):
        return False
    recorded = read_json(folder / RUN).get("adapter")
    return recorded is None or recorded == sha256(folder / WEIGHTS)  # runs of earlier versions record no hash
