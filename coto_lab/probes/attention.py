"""Attention: which characters the embedded language model looks at when it writes an answer."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from coto_lab.scoring.sources import Source, adapter_of
from coto_lab.tasks.string_task import StringTask


@dataclass(frozen=True, eq=False)
class AttentionMaps:
    """Where each head looks when each character of an answer is written, as a mean over examples.

    The model writes a character at the place of the character before it: the first one of the answer at ``=``.

    Attributes:
        weights: attention from the place where each answer character is written to each place up to there, as shares of 1:
            float32 ``[blocks, heads, answer, places]``. The places are those of the prompt, and then of the answer.
        prompt: the number of characters of the prompt; place 0 is the sign, the body begins at place 1.
        examples: the number of examples in the mean.
    """

    weights: Float[Tensor, "blocks heads answer places"]
    prompt: int
    examples: int

    def on(self, places: Int64[Tensor, " n"]) -> Float[Tensor, "blocks heads"]:
        """How much each head looks at the right place: the mean share on place ``places[i]`` while character i is written.

        Args:
            places: one place for each of the first n characters of the answer.

        Raises:
            ValueError: there are no places, more than characters in the answer, or one that the prompt and answer do not have.
        """
        n_answer, n_places = self.weights.shape[-2:]
        if not 1 <= len(places) <= n_answer or places.min() < 0 or places.max() >= n_places:
            raise ValueError(
                f"places={places.tolist()}: give one place from 0 to {n_places - 1} for each of the first characters of the "
                f"answer, which has {n_answer}."
            )
        return self.weights[:, :, torch.arange(len(places)), places].mean(-1)


def attention_maps(task: StringTask, run: Source | None = None, length: int = 6) -> AttentionMaps:
    """The attention of the base model, or of the base with an adapter, on test examples with bodies of one length.

    The right answer stands behind the prompt, as in scoring, so a wrong character changes nothing for those after it.

    Args:
        task: a task on strings, whose answers to bodies of one length all have one length.
        run: the run or adapter, or its folder. With None, the base model.
        length: characters of the bodies.

    Raises:
        TypeError: ``task`` is no `StringTask`.
        ValueError: no test body has this length, or their answers differ in length; a run of another task or base.
    """
    if not isinstance(task, StringTask):
        raise TypeError(f"task is a {type(task).__name__}: give a StringTask, such as load_task('strings/rotate-back').")
    chosen = [i for i, body in enumerate(task.test) if len(body) == length]
    answers = {len(example.answer) for example in task.show("test", chosen)}
    if len(answers) != 1:
        raise ValueError(
            f"length={length}: the task {task.name!r} has {len(chosen)} test bodies of this length, with answers of "
            f"{sorted(answers)} characters. Choose a length with test bodies whose answers have one length."
        )
    adapter = None if run is None else adapter_of(task, run, "run")
    model = task.load_base()
    model.set_attn_implementation("eager")  # the others do not return what they attend to
    if adapter is not None:
        model = adapter.attach(model)
    prompt, n_answer = length + 2, answers.pop()
    places = prompt + n_answer - 1  # the last character is read by nobody
    with torch.no_grad():
        found = model.eval()(
            input_ids=task.batch("test", chosen)["input_ids"][:, :places], use_cache=False, output_attentions=True
        ).attentions
    weights = torch.stack([block.mean(0) for block in found])  # [blocks, heads, places, places]
    return AttentionMaps(weights[:, :, prompt - 1 :], prompt, len(chosen))
