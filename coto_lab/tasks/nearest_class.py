"""Texts that belong to the class whose vector is nearest: no head has to be trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from coto_lab.tasks.classification import Classification
from coto_lab.tasks.task import Batch, Example

SCALE = 20.0  # of the cosine, as in the training of sentence encoders (MultipleNegativesRankingLoss in sentence-transformers)


@dataclass(frozen=True, eq=False)
class NearestClass(Classification):
    """Texts to classes by an encoder without a head: logit c is ``SCALE`` times the cosine of the text and of class c.

    A text's vector is the mean of the last hidden states of its tokens. So adapters of any seeds share one classifier, as the
    text prompts are in CLIP, and an adapter holds nothing else than its blocks.

    Attributes:
        vectors: of the classes, float ``[classes, width]``, each of length 1.
    """

    vectors: Float[Tensor, "classes width"] = field(kw_only=True)

    def predict(self, model: nn.Module, batch: Batch) -> Float[Tensor, "n classes"]:
        """Logits of the task's classes."""
        inputs = {name: column for name, column in batch.items() if name != "labels"}
        features = mean_over_tokens(model(**inputs).last_hidden_state, batch["attention_mask"])
        return SCALE * features @ self.vectors.to(features).T

    def show(self, split: str, indices: Sequence[int] | Int64[Tensor, " n"]) -> list[Example]:
        """The texts, and the names of their classes."""
        rows = [self._data(split)[int(i)] for i in indices]
        return [Example(self.classes[row["labels"]], row["text"]) for row in rows]


def mean_over_tokens(states: Float[Tensor, "n tokens width"], mask: Int64[Tensor, "n tokens"]) -> Float[Tensor, "n width"]:
    """The mean over the tokens that ``mask`` marks by 1, scaled to length 1."""
    kept = mask[..., None].to(states.dtype)
    return F.normalize((states * kept).sum(1) / kept.sum(1), dim=-1)
