"""The mutation tool on a package of two functions: one has a test that holds it to its word, the other has not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from mutants import mutants

SOURCE = '''\
"""Sums up to 3 < 4."""

from __future__ import annotations


def total(a: int, b: int = 0) -> int:
    """1 + 1 is 2."""
    if b < 0:
        raise ValueError(f"b={b - 1}: must not be below 0.")
    return a + b


def small(n: int) -> bool:
    assert n != 7
    return not n > 2
'''
TEST = """
import pytest
from coto_lab.room.sums import small, total


def test_total():
    assert (total(1), total(2, 3), total(1, 1)) == (1, 5, 2)
    with pytest.raises(ValueError):
        total(1, -1)
    assert total(4, 0) == 4


def test_small():
    assert small(1) is True
    assert small(9) is False
"""


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    for folder in ("coto_lab/room", "tests/room"):
        (tmp_path / folder).mkdir(parents=True)
    for package in ("coto_lab", "coto_lab/room"):  # with __init__.py, or the installed package comes first
        (tmp_path / package / "__init__.py").touch()
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\naddopts = '--import-mode=importlib'\n")
    (tmp_path / "coto_lab/room/sums.py").write_text(SOURCE)
    (tmp_path / "tests/room/test_sums.py").write_text(TEST)
    return tmp_path


def tried(root: Path, *options: str) -> subprocess.CompletedProcess[str]:
    tool = Path(__file__).parent / "mutants.py"
    command = [sys.executable, str(tool), "--root", str(root), "--module", "room/sums", *options]
    return subprocess.run(command, capture_output=True, text=True)


def test_what_is_changed() -> None:
    assert [(mutant.number, mutant.change) for mutant in mutants("room/sums", SOURCE)] == [
        (6, "0 -> 1"),
        (8, "b < 0 -> b <= 0"),
        (8, "0 -> 1"),
        (9, "raise ValueError -> pass"),
        (10, "a + b -> a - b"),
        (15, "not n > 2 -> n > 2"),
        (15, "n > 2 -> n >= 2"),
        (15, "2 -> 3"),
    ]  # neither messages nor docstrings, type hints and assertions


def test_each_mutant_is_one_change_of_a_source_that_is_left_alone() -> None:
    sources = [mutant.source for mutant in mutants("room/sums", SOURCE)]
    assert len(set(sources)) == len(sources)
    assert "return a - b" in sources[4] and sources[4].count("b < 0") == 1 and "return a + b" in sources[5]


def test_killed_and_surviving_mutants_are_told_apart(toy: Path) -> None:
    done = tried(toy, "--all")
    assert done.returncode == 1, done.stderr
    assert "room/sums                    6/8" in done.stdout
    assert done.stdout.count("survived:") == 2 and "75.0%" in done.stdout
    assert "survived: coto_lab/room/sums.py:15: return not n > 2\n    n > 2 -> n >= 2" in done.stdout
    assert (toy / "coto_lab/room/sums.py").read_text() == SOURCE


def test_survivors_may_be_explained_as_long_as_they_are_there(toy: Path) -> None:
    entry = "[[accepted]]\nmodule = 'room/sums'\nline = 'return not n > 2'\nchange = '{}'\nwhy = 'nobody asks'\n"
    (toy / "tests/mutants.toml").write_text(entry.format("n > 2 -> n >= 2") + entry.format("2 -> 3"))
    done = tried(toy, "--all")
    assert done.returncode == 0 and "6 of 6 killed" in done.stdout, done.stdout + done.stderr
    (toy / "tests/mutants.toml").write_text(entry.format("n > 2 -> n >= 3"))
    done = tried(toy)
    assert done.returncode != 0 and "explains what is no mutant any more" in done.stderr


def test_tests_that_fail_anyway_prove_nothing(toy: Path) -> None:
    (toy / "tests/room/test_sums.py").write_text("def test_nothing():\n    assert False\n")
    done = tried(toy)
    assert done.returncode != 0 and "its tests fail without any change" in done.stderr
    (toy / "tests/room/test_sums.py").unlink()
    assert "room/sums has no tests" in tried(toy).stderr
