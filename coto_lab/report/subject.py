"""The adapters of a report: opened, named, and compared with the base model before anything is scored."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from coto_lab.adapters.adapter import WEIGHTS, Adapter
from coto_lab.ground.lists import check_dict, list_of
from coto_lab.report.smaller import matches
from coto_lab.scoring.sources import SOURCES, Source, adapter_of, open_source
from coto_lab.tasks.task import Task
from coto_lab.training.run import Run

_ADVICE = "give a list of runs, adapters or their folders, or a dict of them by name."
METHODS = {"LORA": "LoRA", "HIRA": "HiRA", "ADALORA": "AdaLoRA", "LOHA": "LoHa", "LOKR": "LoKr", "OFT": "OFT", "VERA": "VeRA"}
_HARMLESS_STARTS = ("gaussian", "orthogonal", "eva")  # they leave the base weights alone


@dataclass(frozen=True, eq=False)
class Subject:
    """One adapter of a report.

    Attributes:
        name: what the report calls it.
        adapter: the adapter, with the base of the task that it is scored on.
        run: the training that it is from, where that is known.
        note: what is not known about it, as a sentence; may be empty.
    """

    name: str
    adapter: Adapter
    run: Run | None
    note: str

    @property
    def method(self) -> str:
        """The name of its method, for people."""
        config = self.adapter.config
        kind = str(config.get("peft_type"))
        name = "DoRA" if kind == "LORA" and config.get("use_dora") else METHODS.get(kind, kind)
        return f"{name} (rank-stabilised)" if config.get("use_rslora") else name

    @property
    def parameters(self) -> int:
        """How many numbers the adapter holds."""
        return sum(tensor.numel() for tensor in self.adapter.tensors.values())

    @property
    def rank(self) -> str:
        """Its rank, or all ranks where modules have several (``rank_pattern``)."""
        return self._numbers("rank_pattern", "r")

    @property
    def alpha(self) -> str:
        """Its alpha, or all of them where modules have several (``alpha_pattern``)."""
        return self._numbers("alpha_pattern", "lora_alpha" if "lora_alpha" in self.adapter.config else "alpha")

    def _numbers(self, patterns: str, key: str) -> str:
        config = self.adapter.config
        found: set[object] = set()
        for module in self.adapter.modules:
            own = (value for end, value in (config.get(patterns) or {}).items() if matches(end, module))
            found.add(next(own, config.get(key, "")))
        return ", ".join(str(value) for value in sorted(found, key=lambda value: (str(type(value)), value)))

    @property
    def whole_layers(self) -> tuple[str, ...]:
        """The modules that were trained whole beside the adapter (PEFT's ``modules_to_save``)."""
        return tuple(sorted({name.rpartition(".")[0] for name in self.adapter.apart()[1]}))


def open_subjects(adapters: Source | Sequence[Source] | Mapping[str, Source], task: Task) -> list[Subject]:
    """Open the adapters of a report.

    Args:
        adapters: one run, adapter or folder, a list of them, or a dict by name. A folder is called by its own name.
        task: what they will be scored on.

    Raises:
        TypeError: ``adapters`` holds something else.
        ValueError: no adapters; a folder that cannot be read; an adapter of another base or task; one that holds numbers that
            are not finite, lacks the task's new layers, or changes what no gate can close.
    """
    if isinstance(adapters, SOURCES):
        adapters = [adapters]
    if isinstance(adapters, Mapping):
        check_dict("adapters", adapters, SOURCES, _ADVICE)  # type: ignore[arg-type]
        return [_open(str(name), source, task) for name, source in adapters.items()]
    sources = list_of("adapters", adapters, SOURCES, _ADVICE)
    return [_open(name, source, task) for name, source in zip(_names(sources), sources, strict=True)]


def _open(name: str, source: Source, task: Task) -> Subject:
    folder = Path(source) if isinstance(source, (str, Path)) else None
    if folder is not None and not (folder / WEIGHTS).exists() and (folder / "adapter_model.bin").exists():
        raise ValueError(
            f"adapter {name!r}, {str(source)!r}, has its weights in adapter_model.bin, a pickle file, which is never opened. "
            "Save it again with a PEFT that writes adapter_model.safetensors."
        )
    opened = open_source(source, f"adapter {name!r}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that the base is not known; the report itself says so
        adapter = adapter_of(task, opened, f"adapter {name!r}")
    for key, tensor in adapter.tensors.items():
        if bad := int((~tensor.isfinite()).sum()):
            raise ValueError(
                f"adapter {name!r} holds numbers that are not finite: {bad} of them in {key}. Its training has diverged; give "
                "a checkpoint from before that."
            )
    for key in ("r", "lora_alpha", "alpha"):
        if isinstance(value := adapter.config.get(key, 1), str) or value is None:
            raise ValueError(
                f"adapter {name!r}: {key} is {value!r} in its configuration, and must be a number. Correct it there."
            )
    _check_gated(name, adapter)
    note = ""
    if adapter.base is None:
        named = adapter.config.get("base_model_name_or_path")
        note = (
            "The adapter does not say by a hash which base model it was trained on (its configuration names "
            f"{repr(named) if named else 'none'}). Only the names and shapes of its tensors were compared."
        )
        adapter = replace(adapter, base=task.base)
    return Subject(name, adapter, opened if isinstance(opened, Run) else None, note)


def _check_gated(name: str, adapter: Adapter) -> None:
    """Whether the adapter with every gate closed is the base model; a report says so of it."""
    config, found = adapter.config, []
    if config.get("bias", "none") != "none":
        found.append(f"trained biases (bias={config['bias']!r})")
    start = config.get("init_lora_weights")
    if isinstance(start, str) and start not in _HARMLESS_STARTS:
        found.append(f"a start that writes into the base's weights (init_lora_weights={start!r})")
    if config.get("trainable_token_indices"):
        found.append("trained vectors of tokens (trainable_token_indices)")
    if found:
        raise ValueError(
            f"adapter {name!r} has {' and '.join(found)}. No gate closes that, so a report could neither score the base model "
            "without the adapter nor leave out blocks. Score the whole adapter with an Evaluator, or train one without."
        )


def _names(sources: Sequence[Source]) -> list[str]:
    """A name for each: its folder's, with the folder around it where two are called the same; and a number if need be."""
    folders = [Path(source).resolve() if isinstance(source, (str, Path)) else None for source in sources]
    names = ["adapter" if folder is None else folder.name for folder in folders]
    longer = [name if folder is None else f"{folder.parent.name}/{name}" for name, folder in zip(names, folders, strict=True)]
    names = [long if names.count(name) > 1 else name for name, long in zip(names, longer, strict=True)]
    return [name if names.count(name) == 1 else f"{name} {names[: i + 1].count(name)}" for i, name in enumerate(names)]
