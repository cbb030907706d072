"""Which layers of a model get an adapter, and which are new in it: read off its shapes, before any weights are there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import nn

from coto_lab.tasks.hub.source import Source

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

# What transformers' architectures call the projections of attention to queries, keys and values, apart and in one.
_PROJECTIONS = {
    "query", "key", "value", "query_proj", "key_proj", "value_proj", "q_proj", "k_proj", "v_proj", "q_lin", "k_lin", "v_lin",
    "Wqkv", "qkv", "query_key_value",
}  # fmt: skip


def attention_targets(skeleton: PreTrainedModel) -> tuple[str, ...]:
    """The linear layers that make queries, keys and values, by the end of their names: where LoRA is usually put.

    Raises:
        ValueError: the model has none of a known name.

    Source: Hu et al. 2021 (arXiv:2106.09685), section 4.2, which adapts weights of the attention only.
    """
    if not (found := tuple(leaf for leaf in _linear_layers(skeleton) if leaf in _PROJECTIONS)):
        raise ValueError(
            f"{type(skeleton).__name__} has no linear layers whose names say that they make queries, keys or values. Name the "
            "layers that get an adapter, such as targets=('query', 'value')."
        )
    return found


def check_targets(skeleton: PreTrainedModel, targets: Sequence[str]) -> None:
    """Whether each of ``targets`` is the end of the name of a layer.

    Raises:
        ValueError: one is not; it lists the linear layers.
    """
    names = [f".{name}" for name, _ in skeleton.named_modules()]
    if absent := [end for end in targets if not any(name.endswith(f".{end}") for name in names)]:
        raise ValueError(
            f"targets={tuple(targets)!r}: {type(skeleton).__name__} has no layer whose name ends with {absent[0]!r}. The names "
            f"of its linear layers end with {', '.join(map(repr, _linear_layers(skeleton)))}."
        )


def _linear_layers(skeleton: PreTrainedModel) -> list[str]:
    """The ends of the names of all linear layers, each once, in the model's order."""
    linear = (name.rpartition(".")[2] for name, module in skeleton.named_modules() if isinstance(module, nn.Linear))
    return list(dict.fromkeys(linear))


def most_tokens(skeleton: PreTrainedModel) -> int | None:
    """How many tokens of a text a model reads, by its positions; None where their number has no limit.

    RoBERTa and its kin number the positions from the one after that of the padding on.
    """
    positions: int | None = getattr(skeleton.config, "max_position_embeddings", None)
    if positions is None or positions < 1:  # XLNet says -1
        return None
    for name, module in skeleton.named_modules():
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            return positions - module.padding_idx - 1
    return positions


def new_layers(source: Source, model_class: Any, config: PretrainedConfig) -> tuple[str, ...]:
    """The layers of a model beside its base model that its checkpoint does not have, or has in another size.

    Only configurations are read: that of the checkpoint says which class of transformers it was saved from.

    Args:
        source: the checkpoint.
        model_class: of the model, such as ``AutoModelForSequenceClassification``.
        config: of the model; it says how many outputs a head has.
    """
    model = source.skeleton(model_class, config=config)
    saved = _shapes_of_checkpoint(source)
    found = []
    for name, child in model.named_children():
        shapes = {f"{name}.{key}": tuple(parameter.shape) for key, parameter in child.named_parameters()}
        if name != model.base_model_prefix and any(saved.get(key) != shape for key, shape in shapes.items()):
            found.append(name)
    return tuple(found)


def _shapes_of_checkpoint(source: Source) -> dict[str, tuple[int, ...]]:
    """The names and shapes in the class that the checkpoint was saved from; none where it does not tell."""
    import transformers

    config = source.config()
    names = getattr(config, "architectures", None) or [""]
    saved_from = getattr(transformers, names[0], None)
    if saved_from is None or not hasattr(saved_from, "_from_config"):
        return {}
    import torch

    with torch.device("meta"):
        model = saved_from(config)
    return {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
