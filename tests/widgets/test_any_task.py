"""All views on a causal language model that shares nothing with the embedded task, and on adapters that PEFT saved."""

from __future__ import annotations

import asyncio
import re
import warnings
from dataclasses import replace
from pathlib import Path

import peft
import pytest
import torch
from tiny_models import randomise
from tiny_tasks import CopyTask, SpeakingTask, language_task

from coto_lab import Evaluator, Linear, Recipe, Run, Variant, fit, interpolate
from coto_lab.probes.interpolation import mixtures
from coto_lab.probes.simplex import simplex
from coto_lab.widgets import InterpolationExplorer, LiveTraining, ScaleExplorer, SimplexExplorer, Switchboard
from coto_lab.widgets.view import plain

RECIPE = Recipe(r=4, steps=60, batch_size=16, lr=3e-2)


@pytest.fixture(scope="module")
def copying() -> CopyTask:
    return CopyTask()


@pytest.fixture(scope="module")
def three(copying: CopyTask) -> list[Run]:
    return [fit(copying, replace(RECIPE, seed=seed), progress=False) for seed in range(3)]


@pytest.fixture(scope="module")
def folders(copying: CopyTask, three: list[Run], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The adapters of `three` as PEFT's ``save_pretrained`` writes them."""
    paths = []
    for i, run in enumerate(three):
        paths.append(tmp_path_factory.mktemp("peft") / f"adapter-{i}")
        run.adapter.attach(copying.load_base()).save_pretrained(paths[-1])
    return paths


def test_the_switchboard_marks_what_is_right(copying: CopyTask, three: list[Run]) -> None:
    board = Switchboard(copying)
    assert [switch.description for switch in board.modules[:3]] == ["q 0", "v 0", "q 1"]
    assert board.figure.data[-1].text[0] == "de= → de", "there are samples before there is a run"
    board.take({"LoRA": three[0]})
    board.patterns["every other"].click()
    scores = Evaluator(copying)([Variant(three[0].adapter, board.mask), Variant(three[0].adapter)])
    right = scores.values["correct"][0].tolist()
    words = board.figure.data[-1]
    assert [text[0] for text in words.text] == ["✓" if ok else "✗" for ok in right[:30]]
    assert board.figure.data[0].x[0] == pytest.approx(100 * scores.accuracy[0].item())
    said = plain(board.text.value)
    assert said.startswith(f"LoRA with 4 of 8 adapters open answers {int(sum(right))} of 40 test examples correctly: ")
    assert said.endswith("with all open."), "no class is taken for another"


def test_the_views_show_what_a_task_that_speaks_says(three: list[Run]) -> None:
    task = SpeakingTask()
    board = Switchboard(task, {"LoRA": three[0]})
    board.blocks[3].value = False
    scores = Evaluator(task)([Variant(three[0].adapter, board.mask)], outputs=True)
    wrong = next(i for i, right in enumerate(scores.values["correct"][0]) if not right)
    said, example = scores.said[0][wrong], task.show("test", [wrong])[0]
    cells, words = board.figure.data[-2:]
    assert seen(words.text[wrong]).split() == ["✗", example.text, "→", said, f"({example.answer})"]
    assert f"model's answer: {said}<br>" in cells.text[wrong // 2][wrong % 2]
    explorer = InterpolationExplorer(task, {"LoRA": three[1]}, {"LoRA": three[0]})
    explorer.alpha.value = 0.7
    here = Evaluator(task)(mixtures(three[:2], torch.tensor([[0.3, 0.7]])), outputs=True).said[0]
    places = {example.text: i for i, example in enumerate(task.show("test", range(40)))}
    lines = [seen(line).split() for line in explorer.figure.data[-1].text]
    assert lines and all(line[3] == here[places[line[1]]] for line in lines)


def seen(line: str) -> str:
    """A line without its looks."""
    return re.sub(r"<[^>]*>", "", line)


def test_the_interpolation_explorer_shows_what_becomes_right_or_wrong(copying: CopyTask, three: list[Run]) -> None:
    explorer = InterpolationExplorer(copying, {"LoRA": three[1]}, {"LoRA": three[0]})
    explorer.alpha.value = 0.7
    curve = interpolate(copying, *three[:2])
    before, now = Evaluator(copying)(mixtures(three[:2], torch.tensor([[1.0, 0.0], [0.3, 0.7]]))).values["correct"].bool()
    spoiled, mended = int((before & ~now).sum()), int((now & ~before).sum())
    assert spoiled + mended
    assert plain(explorer.text.value).endswith(
        f"accuracy on 40 test examples is LoRA {curve.accuracy[14]:.1%} (loss {curve.loss[14]:.2f}). LoRA answers {spoiled} of "
        f"them correctly with its first run alone and wrongly here, {mended} wrongly there and correctly here."
    )
    texts = [example.text for example in copying.show("test", (before != now).nonzero().flatten())]
    assert [text.split("  ")[1].split(" → ")[0] for text in explorer.figure.data[-1].text] == texts[:20]
    assert explorer.method.description == "examples of"
    explorer.alpha.field.value = "0.333"
    assert "At α = 0.333" in explorer.text.value


def test_the_simplex_explorer_and_the_scale_explorer(copying: CopyTask, three: list[Run]) -> None:
    explorer = SimplexExplorer(copying, {"LoRA": three[1:]}, {"LoRA": three[0]})
    record = simplex(copying, three, 6)
    told = f"LoRA {record.accuracy[record.centre].item():.1%} (loss {record.loss[record.centre].item():.2f}). LoRA answers "
    assert told in plain(explorer.text.value)
    scale = ScaleExplorer(copying, {"LoRA": three[0]}, next(iter(three[0].adapter.factors())))
    own = Evaluator(copying)([Variant(three[0].adapter)]).accuracy.item()
    assert plain(scale.text.value).startswith(f"1 · ΔW answers correctly: LoRA {own:.1%} of 40 test examples")


def test_a_live_training_of_it_feeds_the_other_views(copying: CopyTask, three: list[Run]) -> None:
    recipes = {"LoRA": replace(RECIPE, steps=6), "CoTo": replace(RECIPE, steps=6, schedule=Linear())}
    live = LiveTraining(copying, recipes)
    board = Switchboard(copying)
    explorer = InterpolationExplorer(copying, {"LoRA": three[1], "CoTo": three[2]})
    live.feed(board)
    live.feed(explorer)
    runs = asyncio.run(live.train())
    assert [len(run.history) for run in runs.values()] == [6, 6]
    said = plain(live.text.value)
    assert "Finished: step 6 of 6" in said and "it answers" in said
    assert "on every 4th test example (10 of 40)" in said
    assert board.method.options == explorer.method.options == ("LoRA", "CoTo")


@pytest.mark.slow
def test_folders_that_peft_wrote_show_what_the_runs_show(copying: CopyTask, three: list[Run], folders: list[Path]) -> None:
    with pytest.warns(UserWarning, match=r"runs\['LoRA'\] does not say by a hash which base"):
        boards = [Switchboard(copying, {"LoRA": source}) for source in (folders[0], three[0], three[0].adapter)]
    for board in boards:
        board.blocks[1].value = False
    assert len({board.text.value for board in boards}) == 1

    def explorers(runs: list) -> list:
        module = next(iter(three[0].adapter.factors()))
        return [
            InterpolationExplorer(copying, {"LoRA": runs[1]}, {"LoRA": runs[0]}),
            SimplexExplorer(copying, {"LoRA": runs[1:]}, {"LoRA": runs[0]}),
            ScaleExplorer(copying, {"LoRA": runs[0]}, module),
        ]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        by_path, by_run = explorers(list(map(str, folders))), explorers(three)
    assert [view.text.value for view in by_path] == [view.text.value for view in by_run]
    corners = [text.split("<br>")[0] for text in by_path[1].figure.data[3].text]
    assert corners == ["adapter-0", "adapter-1", "adapter-2"]


@pytest.mark.filterwarnings("ignore:.*does not say by a hash")
def test_the_first_adapter_decides_which_switches_there_are(copying: CopyTask, three: list[Run], tmp_path: Path) -> None:
    config = peft.LoraConfig(r=2, target_modules=["k_proj", "o_proj", "down_proj"])
    randomise(peft.get_peft_model(copying.load_base(), config)).save_pretrained(tmp_path / "other")
    other, board = tmp_path / "other", Switchboard(copying)
    assert len(board.modules) == 8
    board.take({"other": other})
    assert [switch.description for switch in board.modules[:4]] == ["k 0", "o 0", "down 0", "k 1"]
    assert {"only k_proj", "none"} < set(board.patterns) and len(board.mask) == 12
    board.modules[2].value = False
    assert "other with 11 of 12 adapters open" in board.text.value
    assert all(board.modules[2] is not switch for switch in board.blocks)
    before = board.text.value
    for runs in ({"LoRA": three[0]}, {"other": other, "LoRA": three[0]}):
        with pytest.raises(ValueError, match=r"runs\['LoRA'\] has adapters on other modules than this board"):
            board.take(runs)
    assert board.text.value == before and board.method.options == ("other",)


def test_what_is_no_run_is_refused(copying: CopyTask, three: list[Run], tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"runs\['LoRA'\] is a int"):
        Switchboard(copying, {"LoRA": 3})
    with pytest.raises(TypeError, match=r"partners\['LoRA'\] is a list"):
        InterpolationExplorer(copying, {"LoRA": [three[0]]})
    with pytest.raises(ValueError, match=r"adapter_config\.json"):
        Switchboard(copying, {"LoRA": tmp_path})
    with pytest.raises(ValueError, match="was trained on another base model"):
        Switchboard(language_task(), {"LoRA": three[0].adapter})


def test_texts_with_classes_are_classified() -> None:
    """A task between the two: tokens as text, three classes."""
    task = language_task()
    run = fit(task, Recipe(r=2, steps=8, batch_size=4), progress=False)
    board = Switchboard(task, {"LoRA": run})
    scores = Evaluator(task)([Variant(run.adapter)], outputs=True)
    read = scores.logits[0].argmax(-1)
    first = board.figure.data[-1].text[0]
    assert first.startswith(f"{'abc'[read[0]]} {'✓' if read[0] == 0 else '✗'}  ") and first.endswith(" → a")
    assert "classifies" in board.text.value and "of 12 test examples correctly" in board.text.value
