"""The half of a task that its base model decides, where that is a model of the hub."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coto_lab.tasks.hub.source import Source
from coto_lab.tasks.part import Part

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel


@dataclass(frozen=True, eq=False)
class OnModel:
    """A base model of the hub; making one reads nothing.

    Attributes:
        model: a `Source`, or the name of a model on the hub, or a folder.

    Raises:
        TypeError: ``model`` is neither a string, a path, nor a `Source`.
    """

    model: str | Path | Source

    def __post_init__(self) -> None:
        if not isinstance(self.model, (str, Path, Source)):
            raise TypeError(f"model={self.model!r}: give the name of a model, or a Source(name, dtype='bfloat16', ...).")

    @cached_property
    def source(self) -> Source:
        """Where the model comes from."""
        return self.model if isinstance(self.model, Source) else Source(str(self.model))

    @cached_property
    def base(self) -> str:
        """As in `Task`."""
        return self.source.identity

    @cached_property
    def config(self) -> PretrainedConfig:
        """The model's configuration.

        Raises:
            ValueError: the task cannot use a model of this kind.
        """
        config = self.source.config()
        self._check_kind(config)
        return config

    def load_base(self) -> PreTrainedModel:
        """A fresh copy of the base model."""
        return self.source.load(self._model_class(), config=self.config)

    def skeleton(self) -> PreTrainedModel:
        """The base model without weights."""
        return self.source.skeleton(self._model_class(), config=self.config)

    def every(self, step: int) -> Part:
        """The task with every ``step``-th test example, from the first one on."""
        return Part(self, step)  # type: ignore[arg-type]  # a subclass has the other half of a task

    def _model_class(self) -> Any:
        """transformers' class that loads the model."""
        raise NotImplementedError

    def _check_kind(self, config: PretrainedConfig) -> None:
        """ValueError unless the task can use a model with this configuration."""
        raise NotImplementedError
