"""What serves those who work on the project: hooks and workflows run what they say, and the changelog's paths exist."""

from __future__ import annotations

import importlib.util
import os
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
# PyYAML follows YAML 1.1, where a bare `on` is the truth value True.
ON: Any = True


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def workflow(name: str) -> dict[Any, Any]:
    return yaml.safe_load(read(f".github/workflows/{name}.yml"))


def commands_of(target: str) -> list[str]:
    """What a target of the Makefile runs."""
    recipe = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", read("Makefile"), flags=re.MULTILINE)
    assert recipe is not None, f"the Makefile has no target {target}"
    return [line.strip() for line in recipe[1].replace("\\\n", "").splitlines()]


def commands_in(job: dict[str, Any]) -> list[str]:
    return [step["run"] for step in job["steps"] if "run" in step]


# Hooks


def test_hooks_are_the_quick_checks_of_make_test() -> None:
    (repository,) = yaml.safe_load(read(".pre-commit-config.yaml"))["repos"]
    assert repository["repo"] == "local", "a hook from elsewhere is downloaded, in another version than ours"
    hooks = repository["hooks"]
    quick = [command for command in commands_of("test") if not command.startswith("$(MAKE)")]
    assert [hook["entry"].replace(".venv/bin", "$(BIN)") for hook in hooks] == quick
    assert quick[0].startswith("$(BIN)/ruff") and quick[-1].startswith("$(BIN)/mypy")
    for hook in hooks:
        assert (hook["language"], hook["pass_filenames"]) == ("system", False), "the whole project, by the programs in .venv"


# Workflows


def test_tests_run_on_every_push_and_pull_request() -> None:
    found = workflow("test")
    assert set(found[ON]) == {"push", "pull_request"}
    (job,) = found["jobs"].values()
    assert commands_in(job) == [".ci/run"]
    assert os.access(ROOT / ".ci/run", os.X_OK)
    assert "make test" in read(".ci/run").splitlines()


def test_site_is_made_and_published() -> None:
    found = workflow("site")
    assert found[ON]["push"] == {"branches": ["main"]}
    build, deploy = found["jobs"]["build"], found["jobs"]["deploy"]
    assert commands_in(build) == ["make site"] and commands_of("site")
    assert build["steps"][-1]["uses"].startswith("actions/upload-pages-artifact@")
    assert build["steps"][-1]["with"] == {"path": "_site"}
    assert deploy["needs"] == "build"
    assert [step["uses"].split("@")[0] for step in deploy["steps"]] == ["actions/deploy-pages"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_may_do_no_more_than_they_need(path: Path) -> None:
    found = workflow(path.stem)
    for name, job in found["jobs"].items():
        rights = job.get("permissions", found["permissions"])
        assert rights == ({"pages": "write", "id-token": "write"} if name == "deploy" else {"contents": "read"})
        assert job["timeout-minutes"] <= 120


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_githubs_own_and_pinned(path: Path) -> None:
    """A tag can be moved to another commit later, a commit cannot be changed; the comment says which version it is."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if "uses:" in line]
    assert lines
    assert [line for line in lines if not re.search(r"uses: actions/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line)] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_take_the_python_that_the_readme_names(path: Path) -> None:
    steps = [step for job in workflow(path.stem)["jobs"].values() for step in job["steps"]]
    (python,) = {step["with"]["python-version"] for step in steps if "setup-python" in step.get("uses", "")}
    assert f"the tests run on {python}" in read("README.md")


# Changelog


def test_changelog_has_a_place_for_what_comes_and_for_this_version() -> None:
    versions = re.findall(r"^## \[(.+?)\](?: - (\d{4}-\d{2}-\d{2}))?$", read("CHANGELOG.md"), flags=re.MULTILINE)
    assert versions[0] == ("Unreleased", "")
    assert versions[1][0] == tomllib.loads(read("pyproject.toml"))["project"]["version"] and versions[1][1]


def test_new_paths_in_the_changelog_exist() -> None:
    paths = re.findall(r"^\| `[\w./]+` \| `([\w.]+)`", read("CHANGELOG.md"), flags=re.MULTILINE)
    assert len(paths) > 30
    assert [path for path in paths if importlib.util.find_spec(path) is None] == []
