"""The table of trainers and features in ``pages/trainers.md``: each cell is a test with the real library, or says why not.

Each ``test_NAME.py`` beside this file is about one trainer, which the first line of its docstring names. A test
``test_FEATURE`` there fills a cell; a feature that the trainer does not have stands in ``ABSENT``, with the reason. The page is
written again by the command in `WRITE`.
"""

from __future__ import annotations

import ast
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "pages/trainers.md"
WRITE = "COTO_LAB_WRITE=1 .venv/bin/python -m pytest tests/trainers/test_table.py"

FEATURES = {
    "gates_follow_the_schedule": "the gates are those of `CoTo`, and a dropped adapter does not move",
    "all_gates_open_is_the_plain_training": "with p = 1 every bit is that of a training without CoTo",
    "accumulation_with_a_short_last_group": "gradient accumulation, with a short last group",
    "clipping": "clipping of gradients",
    "bf16": "bf16",
    "checkpointing": "gradient checkpointing that is not reentrant: the same gradients, and backward stops early",
    "compiled": "`torch.compile`",
    "evaluation_during_training": "evaluation during training sees the whole adapter",
    "generation_during_training": "generation during training sees the whole adapter",
    "early_stopping": "early stopping",
    "best_model_at_the_end": "the best model is loaded at the end",
    "resume": "resumed after an interruption, to the same bits",
    "resume_with_more_steps": "resumed with another number of steps",
    "epochs": "epochs in place of a number of steps",
    "data_of_unknown_length": "data of unknown length",
    "fresh_models_and_search": "a fresh model for each training, and for each trial of a search over hyperparameters",
    "reference_is_the_disabled_adapter": "reference policy: the model with its adapter disabled, untouched by the gates",
    "reference_is_a_second_adapter": "reference policy: a second adapter, untouched by the gates",
    "rollouts_see_the_whole_adapter": "rollouts see the whole adapter",
}
HEADING = f"""# CoTo in other people's trainers

Each cell is a test with the real library, in one process on the CPU: ✓ leads to it, and a dash has its reason below the
table. `torch.compile` makes graphs there without a compiler (`aot_eager` or `eager`). What several processes need is told in
[gating](../coto_lab/gating/README.md). To write this page again, run `{WRITE}`.

"""


@dataclass(frozen=True)
class Trainer:
    path: Path
    label: str
    tests: frozenset[str]
    absent: dict[str, str]


def trainers() -> list[Trainer]:
    found = []
    for path in sorted(HERE.glob("test_*.py")):
        if path == Path(__file__):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {node.name.removeprefix("test_") for node in tree.body if isinstance(node, ast.FunctionDef)}
        absent = {
            target.id: ast.literal_eval(node.value)
            for node in tree.body
            if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None
            for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
            if isinstance(target, ast.Name) and target.id == "ABSENT"
        }.get("ABSENT", {})
        label = (ast.get_docstring(tree) or "").split(":")[0]
        found.append(Trainer(path, label, frozenset(names), absent))
    return sorted(found, key=lambda trainer: trainer.label.lower())


def page() -> str:
    own = trainers()
    lines = [f"| | {' | '.join(trainer.label for trainer in own)} |", f"|---|{'---|' * len(own)}"]
    notes: list[str] = []
    for feature, label in FEATURES.items():
        cells = []
        for trainer in own:
            if feature in trainer.tests:
                cells.append(f"[✓](../tests/trainers/{trainer.path.name})")
            else:
                reason = trainer.absent[feature]
                if reason not in notes:
                    notes.append(reason)
                cells.append(f"– {notes.index(reason) + 1}")
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return HEADING + "\n".join(lines) + "\n\n" + "".join(f"{i}. {note}\n" for i, note in enumerate(notes, 1))


@pytest.mark.parametrize("trainer", trainers(), ids=lambda trainer: trainer.path.stem)
def test_every_cell_is_a_test_or_a_reason(trainer: Trainer) -> None:
    assert trainer.label, "the docstring begins with the trainer's name and a colon"
    assert trainer.absent.keys() <= FEATURES.keys()
    assert {feature for feature in FEATURES if feature in trainer.tests} == FEATURES.keys() - trainer.absent.keys()
    assert all(reason.endswith(".") for reason in trainer.absent.values())


def test_page_is_what_the_tests_say() -> None:
    if os.environ.get("COTO_LAB_WRITE"):
        PAGE.write_text(page(), encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == page(), f"run {WRITE}"
