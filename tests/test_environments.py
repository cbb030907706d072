"""The lab with the lowest versions that it admits, and with what Colab has: unit tests of the core and a notebook in each."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import nbformat
import pytest
from environments import bare, made, run_notebook
from nbformat.v4 import new_code_cell
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from coto_lab.notebook.server import versions_in

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NAMES = ["lowest", "colab"]
# What Colab has lies between the lowest versions and the newest, with which everything is tested.
CORE = {
    "lowest": [
        "adapters/test_active", "adapters/test_adapter", "adapters/test_layers", "adapters/test_lora", "gating/test_callback",
        "gating/test_checks", "gating/test_coto", "gating/test_gate_handles", "gating/test_gated_checkpointing",
        "gating/test_gated_layer", "gating/test_gates", "gating/test_grouping", "merging/test_merge", "scoring/test_evaluator",
        "scoring/test_tree", "training/test_checkpoint", "training/test_loop", "training/test_many", "training/test_recipe",
        "training/test_run", "test_language",
    ],
    "colab": ["gating/test_callback", "scoring/test_evaluator", "training/test_loop", "training/test_run"],
}  # fmt: skip

PEFT_MERGES = """
import torch
from peft import LoraConfig, get_peft_model
config = LoraConfig(r=4, lora_alpha=8, target_modules=["0"], init_lora_weights=False)
model = get_peft_model(torch.nn.Sequential(torch.nn.Linear(12, 10)), config, adapter_name="a")
model.add_adapter("b", config)
model.add_weighted_adapter(["a", "b"], [0.3, 0.7], "c", combination_type="svd", svd_rank=8)
update = model.base_model.model[0].get_delta_weight
torch.testing.assert_close(update("c"), 0.3 * update("a") + 0.7 * update("b"), rtol=1e-4, atol=1e-5)
"""
EXTENSIONS = """
import sys
from jupyterlab_server.config import get_federated_extensions
print(*get_federated_extensions([f"{sys.prefix}/share/jupyter/labextensions"]))
"""
FOUND = """
from importlib.metadata import distributions
found = {d.name.lower(): d.version for d in distributions()}
print("torchao" in found, "jupyterlab" in found, *(found[name] for name in ("torch", "ipykernel", "ipywidgets")))
print(sys.modules["coto_lab"].__file__)
"""


def pins(name: str, python: str) -> dict[str, Version]:
    """What ``tests/NAME.txt`` pins under a version of Python."""
    lines = (ROOT / f"tests/{name}.txt").read_text(encoding="utf-8").splitlines()
    requirements = [Requirement(line) for line in lines if not line.startswith("#")]
    held = [r for r in requirements if r.marker is None or r.marker.evaluate({"python_version": python})]
    return {canonicalize_name(r.name): Version(str(r.specifier).removeprefix("==")) for r in held}


def ran(python: Path, *words: str, **settings: object) -> str:
    done = subprocess.run([str(python), *words], capture_output=True, text=True, **settings)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


# The files


def test_lowest_is_what_the_package_admits() -> None:
    extras = PROJECT["optional-dependencies"]
    asked = [Requirement(line) for line in (*PROJECT["dependencies"], *extras["colab"], *extras["lab"])]
    bounds = {canonicalize_name(r.name): r.specifier for r in asked if r.name not in ("torch", "coto_lab")}
    assert all(str(bound).startswith(">=") and "," not in str(bound) for bound in bounds.values()), "lower bounds, no pins"
    lowest = {name: Version(str(bound).removeprefix(">=")) for name, bound in bounds.items()}

    assert {name: pins("lowest", "3.11").get(name) for name in lowest} == lowest
    later = pins("lowest", "3.13")
    assert later.keys() == pins("lowest", "3.11").keys() and all(later[name] >= lowest[name] for name in lowest)


def test_lab_is_colab_with_jupyterlab() -> None:
    extras = PROJECT["optional-dependencies"]
    assert "jupyterlab" not in {Requirement(line).name for line in extras["colab"]}
    assert [Requirement(line).name for line in extras["lab"]] == ["coto_lab", "jupyterlab"]
    assert Requirement(extras["lab"][0]).extras == {"colab"}


# The environments


@pytest.mark.parametrize("name", NAMES)
def test_environment_holds_what_its_file_says_and_our_torch(name: str) -> None:
    pinned = pins(name, f"{sys.version_info.major}.{sys.version_info.minor}")
    found = versions_in(made(name), [*pinned, "torch"])
    assert found.pop("torch") == version("torch")
    assert {package: Version(str(number)) for package, number in found.items()} == pinned


@pytest.mark.parametrize("name", CORE)
def test_core_passes_its_tests(name: str) -> None:
    """Deprecations are errors with the newest versions only: older ones warn of each other."""
    files = [f"tests/{module}.py" for module in CORE[name]]
    ran(made(name), "-m", "pytest", "-q", "-m", "not slow", "-p", "no:cacheprovider", "-o", "filterwarnings=", *files, cwd=ROOT)


def test_lowest_peft_merges_by_its_scale() -> None:
    ran(made("lowest"), "-W", "ignore", "-c", PEFT_MERGES)


def test_lowest_jupyterlab_finds_both_halves_and_doctor_is_content() -> None:
    found = ran(made("lowest"), "-c", EXTENSIONS).split()
    assert {"anywidget", "jupyterlab-plotly", "@jupyter-widgets/jupyterlab-manager"} <= set(found)
    assert ran(made("lowest"), "-W", "ignore", "-c", "from coto_lab.notebook import doctor; print(doctor())") == "[]\n"


def test_tour_runs_with_the_lowest_versions() -> None:
    run_notebook(nbformat.read(ROOT / "notebooks/00_tour.ipynb", as_version=4), made("lowest"))


@pytest.fixture
def on_colab(tmp_path: Path) -> tuple[Path, Path]:
    """A Python with what Colab has and a torchao that PEFT refuses, but without the lab; and a repository of this checkout."""
    (site,) = (ROOT / ".venv/colab").glob("lib/python*/site-packages")
    assert made("colab")
    python = bare(tmp_path / "colab", site, ROOT / ".venv/colab/torch")
    stub = tmp_path / "stub"
    (stub / "torchao").mkdir(parents=True)
    (stub / "torchao/__init__.py").write_text('__version__ = "0.10.0"\n')
    (stub / "pyproject.toml").write_text('[project]\nname = "torchao"\nversion = "0.10.0"\n')
    ran(Path(sys.executable), "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path), cwd=stub)
    ran(python, "-m", "pip", "install", "--no-index", *map(str, tmp_path.glob("*.whl")))
    (own,) = (tmp_path / "colab").glob("lib/python*/site-packages")
    (own / "google/colab").mkdir(parents=True)  # the module that Colab has, as far as the lab uses it
    (own / "google/colab/__init__.py").touch()
    (own / "google/colab/output.py").write_text("def enable_custom_widget_manager():\n    print('custom widgets')\n")

    left_out = shutil.ignore_patterns(".git", ".venv", ".*_cache", "__pycache__", "runs", "_site", "test-results")
    repository = shutil.copytree(ROOT, tmp_path / "repository", ignore=left_out)
    for words in (["init", "-q"], ["add", "-A"], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "all"]):
        subprocess.run(["git", *words], cwd=repository, check=True)
    return python, repository


def test_a_notebook_on_colab_installs_the_lab_removes_torchao_and_trains(on_colab: tuple[Path, Path]) -> None:
    """Every cell as it stands, with the real git and pip; git is told to take this checkout for the public address."""
    python, repository = on_colab
    notebook = nbformat.read(ROOT / "notebooks/03_training_live.ipynb", as_version=4)
    notebook.cells = [new_code_cell("import google.colab"), *notebook.cells, new_code_cell(FOUND)]
    git = {"COUNT": "1", "KEY_0": f"url.{repository.as_uri()}.insteadOf", "VALUE_0": PROJECT["urls"]["Repository"]}
    offline = {"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0"}  # pip reads this 0 as: no isolation
    run_notebook(notebook, python, **offline, **{f"GIT_CONFIG_{name}": value for name, value in git.items()})

    said = {cell.id: "".join(output.get("text", "") for output in cell.outputs) for cell in notebook.cells if "outputs" in cell}
    assert "removed torchao 0.10.0: " in said["install"]
    assert "in Colab, " in said["setup"] and "custom widgets" in said["setup"] and "doctor" not in said["setup"]
    *found, package = notebook.cells[-1].outputs[0].text.split()
    assert found == ["False", "False", version("torch"), "6.17.1", "7.7.1"]
    assert Path(package).is_relative_to(python.parents[1])
