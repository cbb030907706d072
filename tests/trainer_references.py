"""The reference policies of TRL's trainers: the same log-probabilities in every step, whatever the gates drop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tiny_models as tiny
import torch
from torch import Tensor, nn
from trainer_models import BLOCKS, Kind, adapted, make
from trl.trainer.utils import use_adapter

from coto_lab import Constant, CoToCallback


class References:
    """What a model was asked in training mode while its own adapter was not the one that ran, and what it answered."""

    def __init__(self, model: nn.Module):
        self.model = model
        self.asked: list[tuple[dict[str, Any], Tensor]] = []
        model.get_base_model().register_forward_hook(self._look, with_kwargs=True)

    def _look(self, base: nn.Module, _: Any, asked: dict[str, Any], answer: Any) -> None:
        layer = base.model.layers[0].self_attn.q_proj
        if base.training and (layer.disable_adapters or layer.active_adapters == ["ref"]):
            self.asked.append((asked, answer.log_probs.detach()))


def by_hand(model: nn.Module, asked: dict[str, Any]) -> Tensor:
    """The log-probability of each next token that counts, ``[B, T - 1]``; zero for the others."""
    logits = model(input_ids=asked["input_ids"], attention_mask=asked["attention_mask"]).logits
    labels = asked["labels"][:, 1:]
    chosen = logits[:, :-1].log_softmax(-1).gather(-1, labels.clamp(min=0)[..., None]).squeeze(-1)
    return chosen * (labels != -100)


def check(kind: Kind, folder: Path, adapter: str | None, reference: nn.Module, **given: Any) -> None:
    trainer = make(kind, folder, CoToCallback(Constant(0.0), seed=3), learning_rate=0.1, **given)
    assert ("ref" in trainer.model.peft_config) == (adapter == "ref")
    references = References(trainer.model)
    trainer.train()
    seen, references.asked = references.asked, []
    assert len(seen) >= trainer.state.global_step
    with torch.no_grad(), use_adapter(trainer.model.train(), adapter):
        again = [trainer.model.get_base_model()(**asked).log_probs for asked, _ in seen]  # the gates are off by now
        expected = [by_hand(reference.eval(), asked) for asked, _ in seen]
    for (_, answer), same, right in zip(seen, again, expected, strict=True):
        assert torch.equal(answer, same)
        torch.testing.assert_close(answer, right)
    trained = [by_hand(trainer.model.eval(), asked) for asked, _ in seen]
    assert not any(torch.allclose(policy, right) for policy, right in zip(trained, expected, strict=True))


def reference_is_the_disabled_adapter(kind: Kind, folder: Path) -> None:
    """As where the trainer adds the adapter itself."""
    needs = {"peft_config": tiny.config_of("LoRA")}
    check(kind, folder, None, tiny.llama(layers=BLOCKS), model=tiny.llama(layers=BLOCKS), needs=needs)


def reference_is_a_second_adapter(kind: Kind, folder: Path) -> None:
    """As where the model comes with an adapter, of which the trainer makes a frozen copy."""
    check(kind, folder, "ref", adapted(), model=adapted())
