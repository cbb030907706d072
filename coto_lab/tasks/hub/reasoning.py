"""Exercises of the package reasoning-gym as tasks: it makes them by a program, so nothing is downloaded."""

from __future__ import annotations

from typing import Any

from coto_lab.ground.numbers import MAX_SEED, whole_number
from coto_lab.tasks.hub.generated import GeneratedAnswers
from coto_lab.tasks.hub.source import Source

_EXERCISE = "exercise"


def reasoning_gym_task(
    exercise: str,
    model: str | Source,
    *,
    train: int = 1000,
    test: int = 200,
    seed: int = 0,
    settings: dict[str, Any] | None = None,
    **options: Any,
) -> GeneratedAnswers:
    """A task whose answers are checked by the rule that reasoning-gym has for its exercises.

    Args:
        exercise: what reasoning-gym calls it, such as ``"chain_sum"``.
        model: as in `GeneratedAnswers`.
        train, test: how many examples are made to train and to score on; a test question that is among those to train on is
            left out, so simple exercises may have fewer.
        seed: decides the examples.
        settings: of the exercise, such as ``{"max_terms": 3}``; None takes reasoning-gym's.
        options: of `GeneratedAnswers`, such as ``chat=False`` or ``max_new_tokens=16``.

    Raises:
        ImportError: reasoning-gym is not installed.
        ValueError: there is no such exercise; it has no such setting; some of its examples have no one right answer to learn;
            a number out of range; all test questions are among those to train on.
    """
    import datasets

    try:
        import reasoning_gym
    except ImportError as error:
        raise ImportError(
            "this task needs the package reasoning-gym: `pip install reasoning-gym`, or `pip install coto_lab[reasoning]`."
        ) from error

    train, test = whole_number("train", train, 1), whole_number("test", test, 1)
    seed = whole_number("seed", seed, 0, MAX_SEED)
    try:
        # One data set for both: reasoning-gym seeds example i with seed + i, so those of two near seeds are mostly the same.
        made = reasoning_gym.create_dataset(exercise, size=train + test, seed=seed, **settings or {})
    except (AssertionError, TypeError, ValueError) as error:
        raise ValueError(f"reasoning-gym has no exercise={exercise!r} with settings={settings!r}: {error}.") from error
    entries = [made[i] for i in range(train + test)]
    if open_ended := [i for i, entry in enumerate(entries) if not isinstance(entry["answer"], str)]:
        raise ValueError(
            f"exercise={exercise!r} has examples without one right answer, such as number {open_ended[0]}, so there is nothing "
            "to train on. Choose another exercise."
        )
    known = {entry["question"] for entry in entries[:train]}
    places = {
        "train": range(train),
        "test": [i for i in range(train, train + test) if entries[i]["question"] not in known],
    }
    if not places["test"]:
        raise ValueError(f"exercise={exercise!r}: all {test} test questions are among those to train on. Lower train.")
    data = datasets.DatasetDict(
        {
            split: datasets.Dataset.from_dict(
                {
                    "question": [entries[i]["question"] for i in at],
                    "answer": [entries[i]["answer"] for i in at],
                    _EXERCISE: [str(i) for i in at],
                }
            )
            for split, at in places.items()
        }
    )

    def rule(answer: str, reference: str) -> float:
        return float(made.score_answer(answer=answer.strip(), entry=entries[int(reference)]))

    names = {"name": f"reasoning-gym/{exercise}"} | options
    return GeneratedAnswers(model, data, prompt="question", answer="answer", reference=_EXERCISE, rule=rule, **names)
