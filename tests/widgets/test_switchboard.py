"""The switchboard, driven as a reader drives it: toggles, pattern buttons, the choice of a run."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sklearn.metrics
import torch

from coto_lab import Evaluator, Run, Task, Variant
from coto_lab.probes.pruning import paper_patterns
from coto_lab.studies.gallery import load_run
from coto_lab.widgets import Switchboard
from coto_lab.widgets.view import plain

BLOCKS, MODULES = 4, 8  # q and v of four blocks


@pytest.fixture
def board(tiny_task: Task, runs: tuple[Run, Run]) -> Switchboard:
    return Switchboard(tiny_task, {"LoRA": runs[0], "CoTo": runs[1]})


@pytest.fixture
def calls(board: Switchboard, count_variants: Callable[[], list[int]]) -> list[int]:
    """How many variants were scored, call by call, since the board was made."""
    return count_variants()


def agrees(board: Switchboard, run: Run, task: Task) -> None:
    """What is shown is what an evaluator finds with the board's mask."""
    scores = Evaluator(task)([Variant(run.adapter, board.mask)], outputs=True)
    predicted = scores.logits[0].argmax(-1)
    bar, _, mistakes, hits, *_ = board.figure.data  # the confusion matrix apart from its diagonal, and that
    pairs = zip(mistakes.z, hits.z, strict=True)
    confusion = [[(wrong or 0) + (right or 0) for wrong, right in zip(*rows, strict=True)] for rows in pairs]
    assert bar.x[0] == pytest.approx(100 * scores.accuracy.item())
    assert confusion == sklearn.metrics.confusion_matrix(scores.labels, predicted, labels=range(3)).tolist()
    assert f"<b>{scores.accuracy.item():.1%}</b>" in board.text.value
    assert board.scores.accuracy.item() == scores.accuracy.item()
    assert [switch.value for switch in board.modules] == board.mask.tolist()


def test_before_a_run_it_says_what_to_run_first_and_nothing_can_be_switched(tiny_task: Task, runs: tuple[Run, Run]) -> None:
    board = Switchboard(tiny_task)
    controls = [board.method, *board.blocks, *board.modules, *board.patterns.values()]
    assert "First run the cell that trains" in plain(board.text.value)
    assert all(control.disabled for control in controls)
    assert board.scores is None
    assert (len(board.blocks), len(board.modules)) == (BLOCKS, MODULES)
    board.take({"CoTo": runs[0]})
    assert not any(control.disabled for control in controls)
    agrees(board, runs[0], tiny_task)


def test_a_modules_toggle_switches_it_alone(
    board: Switchboard, tiny_task: Task, runs: tuple[Run, Run], calls: list[int]
) -> None:
    assert board.modules[3].description == "v 1"
    board.modules[3].value = False
    assert calls == [1]
    assert board.mask.tolist() == [True] * 3 + [False] + [True] * 4
    assert [switch.icon for switch in board.blocks] == ["check", "minus", "check", "check"]
    assert not board.blocks[1].value
    assert [board.modules[3].tooltip, board.blocks[1].tooltip] == ["v 1 is shut", "block 1 is partly open"]
    agrees(board, runs[0], tiny_task)


def test_a_blocks_toggle_switches_all_its_modules_and_scores_once(
    board: Switchboard, tiny_task: Task, runs: tuple[Run, Run], calls: list[int]
) -> None:
    board.blocks[2].value = False
    assert board.mask.tolist() == [True] * 4 + [False] * 2 + [True] * 2
    assert [switch.icon for switch in board.modules[4:6]] == ["times", "times"]
    agrees(board, runs[0], tiny_task)
    calls.clear()
    board.modules[4].value = True
    board.blocks[2].value = True  # half open, it is opened
    assert board.mask.all() and board.blocks[2].value
    assert calls == [1, 1]


def test_a_pattern_sets_many_toggles_and_scores_once(
    board: Switchboard, tiny_task: Task, runs: tuple[Run, Run], calls: list[int]
) -> None:
    patterns = paper_patterns(Evaluator(tiny_task).sites(runs[0].adapter))
    assert [*patterns, "surprise me"] == list(board.patterns)
    for name, mask in patterns.items():
        calls.clear()
        board.patterns[name].click()
        assert torch.equal(board.mask, mask)
        assert calls == [1]
        agrees(board, runs[0], tiny_task)
    assert "with 0 of 8 adapters open" in board.text.value


def test_surprises_are_drawn_from_the_seed_and_leave_the_global_generator_alone(
    board: Switchboard, tiny_task: Task, runs: tuple[Run, Run]
) -> None:
    before = torch.get_rng_state()
    masks = []
    for _ in range(5):
        board.patterns["surprise me"].click()
        masks.append(board.mask.tolist())
    assert torch.equal(torch.get_rng_state(), before)
    assert len({tuple(mask) for mask in masks}) > 2
    other = Switchboard(tiny_task, {"LoRA": runs[0]})
    other.patterns["surprise me"].click()
    assert other.mask.tolist() == masks[0]


def test_another_run_is_shown_under_the_same_switches(
    board: Switchboard, tiny_task: Task, runs: tuple[Run, Run], calls: list[int]
) -> None:
    board.patterns["low third"].click()
    calls.clear()
    board.method.value = "CoTo"
    assert calls == [1]
    agrees(board, runs[1], tiny_task)
    calls.clear()
    board.take({"CoTo": runs[0], "mine": runs[1]})  # as after another training
    assert calls == [2, 1]
    assert (board.method.value, board.method.options) == ("CoTo", ("CoTo", "mine"))
    agrees(board, runs[0], tiny_task)


def test_the_sentence_tells_the_change_against_all_open(board: Switchboard, tiny_task: Task, runs: tuple[Run, Run]) -> None:
    board.mask = torch.zeros(BLOCKS, dtype=torch.bool)  # scripts may set it, over blocks too
    whole, none = Evaluator(tiny_task)([Variant(runs[0].adapter), Variant(runs[0].adapter, board.mask)]).accuracy.tolist()
    less = round(100 * (whole - none), 1)
    assert less > 1 and f", {less:g} points less than with all open." in board.text.value
    board.mask = torch.ones(BLOCKS, dtype=torch.bool)
    assert ", as much as with all open." in board.text.value
    assert list(board.figure.data[1].x) == [pytest.approx(100 * whole)]


def test_the_part_of_the_test_set_is_evenly_spaced_and_told(tiny_task: Task, runs: tuple[Run, Run]) -> None:
    board = Switchboard(tiny_task, {"LoRA": runs[0]}, images=20)
    assert torch.equal(board.task.batch("test", range(15))["labels"], tiny_task.test_batch["labels"][::3])
    assert "of 15 test images (one in 3 of the test set)" in board.text.value


def test_what_does_not_fit_is_refused_and_the_board_is_as_before(
    board: Switchboard, tiny_task: Task, task: Task, runs: tuple[Run, Run]
) -> None:
    before = board.text.value
    with pytest.raises(ValueError, match="another base model"):
        board.take({"LoRA": load_run("lora-seed0")})
    with pytest.raises(ValueError, match="mask must be"):
        board.mask = torch.ones(3, dtype=torch.bool)
    with pytest.raises(ValueError, match="images=0"):
        Switchboard(tiny_task, images=0)
    with pytest.raises(ValueError, match="empty"):
        board.take({})
    assert board.text.value == before and board.mask.all()
    board.blocks[0].value = False
    agrees(board, runs[0], tiny_task)


def test_on_the_embedded_task_every_fourth_image_is_scored(task: Task) -> None:
    board = Switchboard(task, {"LoRA": load_run("lora-seed0"), "CoTo": load_run("coto-seed0")})
    assert "of 410 test images (one in 4 of the test set)" in board.text.value
