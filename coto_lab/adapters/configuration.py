"""PEFT configurations as plain JSON values, and which of their fields decide what an adapter computes."""

from __future__ import annotations

from typing import Any

# What of a configuration does not decide the adapter's function: where it came from ...
_ORIGIN = {
    "base_model_name_or_path", "revision", "task_type", "auto_mapping", "peft_version", "inference_mode", "runtime_config",
}  # fmt: skip
_TARGETS = {  # ... what is seen in the names and shapes of its tensors ...
    "target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "modules_to_save", "rank_pattern",
}  # fmt: skip
_STARTS = (True, False, "gaussian", "orthogonal")  # ... and initialisations that leave the base weights alone.


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


def changes_base(config: dict[str, Any]) -> bool:
    """Whether an adapter of this configuration writes into weights of the base when it is put on: biases, or another start."""
    function = function_of(config)
    return function.get("bias", "none") != "none" or any(key.startswith("init_") for key in function)


def check_start(config: dict[str, Any]) -> None:
    """Whether an adapter's start can be repeated, as it is when the adapter is put on its base.

    Raises:
        ValueError: the start rewrote weights of the base, by random numbers or by gradients that nobody kept, so that the base
            which the adapter belongs to cannot be made again.
    """
    start = config.get("init_lora_weights")
    if isinstance(start, str) and (start.startswith("pissa_niter_") or start == "lora_ga"):
        by = "gradients on its data" if start == "lora_ga" else "random numbers"
        raise ValueError(
            f"this adapter began with init_lora_weights={start!r}, which rewrote weights of its base by {by}: PEFT rewrites "
            "them otherwise each time that it puts the adapter on the base, so its tensors mean nothing there. Save the "
            "trained model again with PEFT's save_pretrained(..., path_initial_model_for_weight_conversion=...), which makes "
            "a plain LoRA of it."
        )


def json_values(value: Any) -> Any:
    """JSON values in a fixed order: sets become sorted lists, enumerations their values."""
    if isinstance(value, dict):
        return {str(key): json_values(item) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(json_values(item) for item in value)
    if isinstance(value, (list, tuple)):
        return [json_values(item) for item in value]
    return getattr(value, "value", value)
