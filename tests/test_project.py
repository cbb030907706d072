"""The project as a whole: its files agree, its modules import only from rooms below them, and its wheel works elsewhere."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import itertools
import json
import os
import pkgutil
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
import yaml

import coto_lab

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

# The rooms of the package, from the ground up: a module imports only from rooms below its own, and from its own.
ROOMS = [
    "ground", "adapters", "gating", "tasks", "training", "scoring", "merging", "probes", "figures", "report", "studies",
    "exercises", "notebook", "widgets",
]  # fmt: skip

HEAVY = (
    "peft", "transformers", "datasets", "plotly", "ipywidgets", "pandas", "accelerate", "captum", "scipy", "sklearn",
    "lightning",
)  # fmt: skip


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def tracked() -> list[Path]:
    """The files in the repository, and those that git would take in."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


# Files that must agree


def test_conda_environment_installs_the_package() -> None:
    environment = yaml.safe_load(read("environment.yml"))
    *conda, pip = environment["dependencies"]

    assert conda == [f"python{PROJECT['project']['requires-python']}", "pip"]
    assert pip == {"pip": ["-e .[lab]"]}
    assert "lab" in PROJECT["project"]["optional-dependencies"]


def test_one_torch_pin() -> None:
    constraints = read("constraints.txt").split()
    assert re.fullmatch(r"torch==[\d.]+", constraints[0]), "torch first, without a local version such as +cpu"

    assert set(re.findall(r"torch==\S+", read("README.md"))) == {constraints[0]}
    assert not re.findall(r"torch==\d", read("Makefile") + read(".ci/run")), "they take the pin from constraints.txt"
    assert "$(shell grep -m 1 '^torch==' constraints.txt)" in read("Makefile")
    assert "make test" in read(".ci/run")


def test_constraints_pin_everything_that_we_ask_for() -> None:
    def canonical(name: str) -> str:
        return re.sub(r"[-_.]+", "-", name).lower()

    extras = PROJECT["project"]["optional-dependencies"].values()
    requirements = itertools.chain(PROJECT["project"]["dependencies"], *extras)
    asked = {canonical(re.split(r"[<>=\[ ]", requirement)[0]) for requirement in requirements}
    lines = [line for line in read("constraints.txt").splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)
    assert asked - {"coto-lab"} <= {canonical(line.split("==")[0]) for line in lines}


# Docstrings


def undocumented(module: object) -> Iterator[str]:
    name = module.__name__
    if not module.__doc__:
        yield name
    for thing, value in vars(module).items():
        if thing.startswith("_") or getattr(value, "__module__", None) != name:
            continue
        if inspect.isclass(value):
            generated = value.__doc__ is not None and value.__doc__.startswith(f"{thing}(")  # by @dataclass
            if not vars(value).get("__doc__") or generated:
                yield f"{name}.{thing}"
            for member, content in vars(value).items():
                of_code = inspect.isfunction(content) or isinstance(
                    content, (property, classmethod, staticmethod, functools.cached_property)
                )
                # getdoc finds the docstring of what is overridden, also in transformers or the standard library.
                if of_code and not member.startswith("_") and not inspect.getdoc(content):
                    yield f"{name}.{thing}.{member}"
        elif inspect.isfunction(value) and not value.__doc__:
            yield f"{name}.{thing}"


@pytest.mark.parametrize("name", ["coto_lab", *(m.name for m in pkgutil.walk_packages(coto_lab.__path__, "coto_lab."))])
def test_docstrings(name: str) -> None:
    assert list(undocumented(importlib.import_module(name))) == []


def test_import_is_light() -> None:
    code = f"import sys, coto_lab; print([name for name in {HEAVY} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip() == "[]"


# Rooms


def room_of(module: str) -> str:
    """``probes`` for ``coto_lab.probes.pruning``."""
    return module.split(".")[1]


def imports(path: Path) -> Iterator[str]:
    """The coto_lab modules that a file imports, also inside functions and for types only."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("coto_lab"))
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}:{node.lineno}: a relative import; name the module"
            if node.module == "coto_lab":  # `from coto_lab.gating import schedules`: a module, or a public name of the package
                yield from (f"coto_lab.{alias.name}" for alias in node.names)
            elif node.module and node.module.startswith("coto_lab."):
                yield node.module


FILES = sorted((ROOT / "coto_lab").rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_downwards(path: Path) -> None:
    own = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    if own in ("coto_lab", "coto_lab.__main__"):
        return  # the package itself, and its command, import from all
    for other in imports(path):
        assert room_of(other) in ROOMS, f"{own} imports {other}: name the module that defines it"
        assert ROOMS.index(room_of(other)) <= ROOMS.index(room_of(own)), f"{own} imports {other}, from a room above"


def test_the_package_is_made_of_rooms() -> None:
    assert {path.relative_to(ROOT / "coto_lab").parts[0] for path in FILES} == {*ROOMS, "__init__.py", "__main__.py"}


def test_no_module_imports_itself_through_others() -> None:
    """Within a room, too, imports go one way."""
    names = {path: ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in FILES}
    graph = {name: set(imports(path)) & set(names.values()) for path, name in names.items() if name != "coto_lab"}
    TopologicalSorter(graph).prepare()  # raises CycleError, which lists the circle


# Sizes


def test_no_file_is_long() -> None:
    lengths = {path.relative_to(ROOT): len(path.read_bytes().splitlines()) for path in tracked() if path.suffix == ".py"}
    limits = {path: 320 if path.parts[0] == "tests" else 300 for path in lengths}
    assert {path: n for path, n in lengths.items() if n > limits[path]} == {}


def test_repository_is_small() -> None:
    # Of these, three base models are 9 MB, and the gallery of finished runs is at most 28 MB.
    assert sum(path.stat().st_size for path in tracked()) < 44e6


# Notebooks


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebook_is_stored_clean(path: Path) -> None:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    cells = notebook["cells"]

    assert (notebook["nbformat"], notebook["nbformat_minor"]) >= (4, 5)
    assert notebook["metadata"].keys() == {"kernelspec", "language_info"}, "no widgets: GitHub refuses them without their state"
    assert notebook["metadata"]["kernelspec"]["name"] == "python3", "without it JupyterLab asks which kernel to take"
    assert notebook["metadata"]["language_info"] == {"name": "python"}, "no Python version: the reader has another"
    ids = [cell.get("id") for cell in cells]
    assert all(ids) and len(set(ids)) == len(ids)
    for cell in cells:
        if cell["cell_type"] != "code":
            continue
        checked = "".join(cell["source"]).startswith("# NBVAL_CHECK_OUTPUT")
        # nbval compares these outputs with its own; any other would only grow old.
        assert bool(cell["outputs"]) == checked, (
            f"{cell['id']}: outputs belong into the NBVAL_CHECK_OUTPUT cells, and only there"
        )
        assert checked or cell["execution_count"] is None, cell["id"]


def test_there_is_a_tour() -> None:
    assert "00_tour.ipynb" in [path.name for path in NOTEBOOKS]


# The wheel


@pytest.mark.slow
def test_wheel_works_elsewhere(tmp_path: Path) -> None:
    """Built, installed into an empty folder, and used from another one, where no checkout lies beside the package."""

    def run(*command: str, **settings: object) -> str:
        done = subprocess.run([sys.executable, *command], capture_output=True, text=True, **settings)
        assert done.returncode == 0, done.stderr
        return done.stdout

    dist, site = tmp_path / "dist", tmp_path / "site"
    run("-m", "hatchling", "build", "-t", "wheel", "-d", str(dist), cwd=ROOT)
    (wheel,) = dist.glob("*.whl")
    run("-m", "pip", "install", "--no-deps", "--no-index", "--quiet", "--target", str(site), str(wheel))
    code = (
        "import coto_lab; from coto_lab.ground.files import data_path\n"
        "task = coto_lab.load_task('digits'); base = task.load_base(); "
        "print(coto_lab.__file__, data_path('glyph-vit'), task.size('test'), base.num_parameters(), sep='\\n'); "
        "data_path('gallery', 'scores.json'), data_path('evidence', 'evidence.json'); "
        "coto_lab.load_task('strings/rotate-back').load_base()"
    )
    package, data, n_test, parameters = run("-c", code, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(site)}).split("\n")[
        :4
    ]

    assert Path(package) == site / "coto_lab/__init__.py"
    assert Path(data) == site / "coto_lab/_data/glyph-vit"
    assert (site / "coto_lab/py.typed").exists(), "type checkers use our annotations"
    assert (int(n_test), int(parameters)) == (1637, 404_580)
    assert (site / "coto_lab/_data/glyph-vit/model.safetensors").stat().st_size < 2e6
