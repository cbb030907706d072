"""A smaller adapter: the modules that are kept, in a folder that PEFT loads without this package."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from safetensors.torch import save

from coto_lab.adapters.adapter import Adapter
from coto_lab.adapters.configuration import changes_base
from coto_lab.adapters.names import PREFIX

# What else chooses the modules of an adapter: the list of those that are kept says it all.
_CHOICES = ("exclude_modules", "layers_to_transform", "layers_pattern")
_PATTERNS = ("rank_pattern", "alpha_pattern")  # end of a module's name, as a regular expression -> value
_BEYOND = ("target_parameters", "layer_replication")


def keep_modules(adapter: Adapter, kept: Collection[str]) -> Adapter:
    """The adapter with the tensors of some of its modules only; it computes what it did with the gates of the others closed.

    Its configuration names the kept modules one by one, so PEFT makes adapter layers for no others and misses no tensors. What
    was trained whole (``modules_to_save``) stays.

    Args:
        adapter: the adapter; it is not changed.
        kept: the base's own names of the modules to keep, at least one, as in `Adapter.modules`.

    Raises:
        ValueError: ``kept`` is empty or names other modules; the adapter changes the base in more than its modules, so that it
            cannot be cut.
    """
    if not kept or (strange := sorted(set(kept).difference(adapter.modules))):
        found = f"names {strange[0]!r}, which the adapter does not adapt" if kept else "is empty"
        raise ValueError(f"kept {found}: give at least one of its modules, such as {adapter.modules[:1]}.")
    more = [f"{key}={adapter.config[key]!r}" for key in _BEYOND if adapter.config.get(key)]
    if changes_base(adapter.config):
        more.append("a configuration that writes into weights of the base (trained biases, or a start such as PiSSA's)")
    if more:
        raise ValueError(f"this adapter cannot be cut into modules: it has {', '.join(more)}.")
    dropped = tuple(f"{PREFIX}{name}." for name in adapter.modules if name not in set(kept))
    tensors = {key: tensor for key, tensor in adapter.tensors.items() if not key.startswith(dropped)}
    return replace(adapter, config=targeting(adapter.config, kept), tensors=tensors)


def targeting(config: dict[str, Any], modules: Collection[str]) -> dict[str, Any]:
    """The configuration for these modules and no others, which it names in full.

    Patterns that match none of them are left out, because PEFT warns of these.
    """
    patterns = {name: config[name] for name in _PATTERNS if config.get(name)}
    used = {
        name: {key: value for key, value in own.items() if any(matches(key, module) for module in modules)}
        for name, own in patterns.items()
    }
    chosen = {key: None for key in _CHOICES if key in config}
    return config | {"target_modules": sorted(modules)} | chosen | used


def matches(pattern: str, module: str) -> bool:
    """Whether a pattern of ``rank_pattern`` or ``alpha_pattern`` is for a module, as PEFT's ``get_pattern_key`` sees it."""
    return re.match(rf"(.*\.)?({pattern})$", module) is not None


def file_size(adapter: Adapter) -> int:
    """The bytes of the adapter's file ``adapter_model.safetensors``."""
    return len(save(adapter.tensors, metadata={"format": "pt"}))
