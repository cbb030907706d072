"""What tasks on causal language models have in common: the model, its tokenizer and its longest text."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from coto_lab.ground.numbers import whole_number
from coto_lab.tasks.hub.heads import most_tokens
from coto_lab.tasks.hub.on_model import OnModel
from coto_lab.tasks.hub.text import Passage

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase


@dataclass(frozen=True, eq=False)
class OnLanguageModel(OnModel):
    """The half of a task that a causal language model decides; making one reads nothing.

    Attributes:
        model: as in `OnModel`.
        target_modules: as in `Task`. The default is what the commonsense experiments of DoRA and CoTo adapt in Llama; Qwen,
            SmolLM, Mistral and Gemma have layers of the same names.
        max_length: the most tokens of an example; None takes as many as the model reads.
        cut: whether a longer example loses the beginning of its prompt; otherwise it is refused. An answer is never cut.
        classes: none; what the model says is text.

    Raises:
        TypeError: ``model`` is neither a string nor a `Source`.
        ValueError: ``target_modules`` is one string; ``max_length`` below 2. Later: a model that does not write from left to
            right, or reads fewer tokens than ``max_length``; a tokenizer that ends no text.
    """

    target_modules: tuple[str, ...] = field(default=("q_proj", "k_proj", "v_proj", "up_proj", "down_proj"), kw_only=True)
    max_length: int | None = field(default=None, kw_only=True)
    cut: bool = field(default=False, kw_only=True)
    classes: tuple[str, ...] = field(default=(), init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.target_modules, str):
            raise ValueError(f"target_modules={self.target_modules!r}: give a tuple of names, such as ('q_proj', 'v_proj').")
        if self.max_length is not None:
            object.__setattr__(self, "max_length", whole_number("max_length", self.max_length, 2))

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The model's tokenizer.

        Raises:
            ValueError: it has no token that ends a text.
        """
        tokenizer = self.source.tokenizer()
        if tokenizer.eos_token_id is None:
            raise ValueError(
                f"the tokenizer of {self.source.name!r} has no end-of-sequence token, so an answer would have no end. Set its "
                "eos_token, and save it."
            )
        return tokenizer

    @cached_property
    def readable(self) -> int | None:
        """How many tokens the model reads; None where its configuration sets no limit."""
        return most_tokens(self.skeleton())

    @cached_property
    def longest(self) -> int | None:
        """The most tokens of an example; None where neither ``max_length`` nor the model sets a limit.

        Raises:
            ValueError: the model reads fewer than ``max_length``.
        """
        if self.max_length and self.readable and self.max_length > self.readable:
            raise ValueError(f"max_length={self.max_length}: model {self.source.name!r} reads at most {self.readable} tokens.")
        return self.max_length or self.readable

    def fitted(self, passage: Passage, where: str) -> Passage:
        """The passage, if it is not too long, or without the beginning of its prompt where that may be cut.

        Args:
            passage: an example's.
            where: what messages call it.

        Raises:
            ValueError: it is too long; prompt or answer has no tokens.
        """
        prompt, answer = passage
        if not prompt or not answer:
            raise ValueError(
                f"{where}: its {'answer' if prompt else 'prompt'} has no tokens, so there is nothing to "
                f"{'learn' if prompt else 'begin with'}. Leave it out of the data, or give all prompts a first word."
            )
        surplus = len(prompt) + len(answer) - self.longest if self.longest else 0
        if surplus <= 0:
            return passage
        if surplus >= len(prompt):
            raise ValueError(
                f"{where}: its answer has {len(answer)} tokens, so at most {self.longest} leave no room for a prompt. Leave it "
                "out of the data, or raise max_length as far as the model allows."
            )
        if not self.cut:
            raise ValueError(
                f"{where}: it has {len(prompt) + len(answer)} tokens, and at most {self.longest} are allowed. Leave it out of "
                "the data, raise max_length as far as the model allows, or give cut=True, which removes the beginning of the "
                "prompt."
            )
        return Passage(prompt[surplus:], answer)

    def _model_class(self) -> Any:
        from transformers import AutoModelForCausalLM

        return AutoModelForCausalLM

    def _check_kind(self, config: PretrainedConfig) -> None:
        from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_MASKED_LM_MAPPING

        both_ways = type(config) in MODEL_FOR_MASKED_LM_MAPPING and not getattr(config, "is_decoder", False)
        if both_ways or type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
            raise ValueError(
                f"model {self.source.name!r} is a {config.model_type!r} model, which does not write a text from left to right. "
                "Choose a causal language model, such as 'Qwen/Qwen2.5-0.5B-Instruct'."
            )
