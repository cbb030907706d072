"""Where the language model looks, on the skills that it knows and on a new one."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
import torch

from coto_lab import Adapter, Recipe, Task, Training, load_task
from coto_lab.probes.attention import AttentionMaps, attention_maps
from coto_lab.tasks import StringTask
from coto_lab.tasks.skills import SKILLS


def known(name: str) -> StringTask:
    """A skill of pre-training, as a task."""
    random = Random(0)
    bodies = [SKILLS[name].body(random, held_out=True) for _ in range(160)]
    return StringTask(SKILLS[name], ["abcd"], sorted(set(bodies)), name)


@pytest.fixture(scope="module")
def rotate() -> StringTask:
    return known("rotate")


@pytest.fixture(scope="module")
def maps(rotate: StringTask) -> AttentionMaps:
    return attention_maps(rotate, length=5)


def test_it_is_the_mean_over_the_examples_of_what_the_model_returns(rotate: StringTask, maps: AttentionMaps) -> None:
    chosen = [i for i, body in enumerate(rotate.test) if len(body) == 5]
    assert maps.examples == len(chosen) > 10 and maps.prompt == len("Labcde=")
    assert maps.weights.shape == (8, 4, 6, 12), "the answer bcdea; is written at the places from = to a"
    model = rotate.load_base()
    model.set_attn_implementation("eager")
    total = torch.zeros(())
    for i in chosen:
        ids = torch.tensor([rotate.tokenizer.encode(rotate.skill.prompt(rotate.test[i]) + rotate.skill.answer(rotate.test[i]))])
        with torch.no_grad():
            total = total + torch.stack(model(input_ids=ids, output_attentions=True).attentions)[:, 0]
    torch.testing.assert_close(maps.weights, total[:, :, 6:12, :12] / len(chosen), rtol=0, atol=1e-5)


def test_shares_add_up_and_nothing_later_is_seen(maps: AttentionMaps) -> None:
    torch.testing.assert_close(maps.weights.sum(-1), torch.ones(8, 4, 6))
    assert (maps.weights.triu(maps.prompt) == 0).all()


def test_a_head_of_the_base_looks_at_the_character_that_it_writes(maps: AttentionMaps) -> None:
    """The right place of the skill that moves the first character to the end."""
    right, other = torch.tensor([2, 3, 4, 5, 1]), torch.tensor([1, 2, 3, 4, 5])
    assert maps.on(right).max() > 0.7
    assert maps.on(right).max() > 2 * maps.on(other).max()


def test_on_is_the_mean_over_the_characters_that_are_given(maps: AttentionMaps) -> None:
    torch.testing.assert_close(maps.on(torch.tensor([2])), maps.weights[:, :, 0, 2])
    both = (maps.weights[:, :, 0, 2] + maps.weights[:, :, 1, 0]) / 2
    torch.testing.assert_close(maps.on(torch.tensor([2, 0])), both)


@pytest.mark.parametrize("places", [[], [12], [-1], [0] * 7])
def test_places_that_are_not_there_are_refused(maps: AttentionMaps, places: list[int]) -> None:
    with pytest.raises(ValueError, match="give one place from 0 to 11 for each of the first characters of the answer"):
        maps.on(torch.tensor(places, dtype=torch.int64))


def test_an_adapter_changes_the_maps_once_it_has_learned_something() -> None:
    task = load_task("strings/rotate-back")
    empty = replace(Adapter.from_model(Training(task, Recipe(steps=1)).model), base=task.base)
    random = {name: torch.randn(t.shape, generator=torch.Generator().manual_seed(0)) / 8 for name, t in empty.tensors.items()}
    before, same, after = (attention_maps(task, run, length=4) for run in (None, empty, replace(empty, tensors=random)))
    torch.testing.assert_close(same.weights, before.weights)
    assert (after.weights - before.weights).abs().max() > 0.1


def test_bad_input_is_named(rotate: StringTask, task: Task) -> None:
    with pytest.raises(TypeError, match="task is a Classification: give a StringTask"):
        attention_maps(task)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"length=8: the task 'rotate' has 0 test bodies of this length"):
        attention_maps(rotate, length=8)
