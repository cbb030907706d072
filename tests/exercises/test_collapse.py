from __future__ import annotations

from coto_lab.exercises import collapse
from coto_lab.studies.rate_sweep import SEEDS, rate_sweep, sweep_name

check_collapses = collapse.check_collapses.__wrapped__  # what it finds, before it is printed

COURSES = {5: [0.8, 0.2, 0.3, 0.4, 1.6, 2.3], 6: [1.2, 0.2, 0.3, 1.5, 1.51, 2.0]}


def test_the_step_at_which_a_course_first_exceeds_the_limit() -> None:
    assert {seed: collapse.collapse_step(own) for seed, own in COURSES.items()} == {5: 100, 6: 100}
    assert collapse.collapse_step([1.5, 0.6, 0.5]) is None
    assert check_collapses({5: 100, 6: 100.0}, COURSES) == []


def test_likely_mistakes_are_named() -> None:
    wrong = {"counted from 0": 4, "counted from 1": 5, "at which those 20 steps begin": 80, "elsewhere": 60}
    for complaint, answer in wrong.items():
        (found,) = check_collapses({5: answer, 6: 100}, COURSES)
        assert complaint in found and found.startswith(f"seed 5, {answer}: ")
    assert "the seeds 5, 6 as its keys" in check_collapses([100, 100], COURSES)[0]
    assert "elsewhere" in check_collapses({5: "soon", 6: 100}, COURSES)[0]


def test_every_seed_of_lora_learns_first_and_then_collapses_at_the_rate_of_the_notebook() -> None:
    runs = rate_sweep()["runs"]
    for seed in SEEDS:
        losses = runs[sweep_name("none", "LoRA", 0.0238, seed)]["course"]["loss"]
        step = collapse.collapse_step(losses)
        assert step is not None and step >= 100 and losses[0] < collapse.COLLAPSED
