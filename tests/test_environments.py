"""The lab with the lowest versions that it admits, and with what Colab has: unit tests of the core and a notebook in each.

With Colab's ipywidgets the views are tested, too.
"""

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
from widgets.test_predict import CELLS

from coto_lab.notebook.server import versions_in

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NAMES = ["lowest", "colab"]
# The views with Colab's ipywidgets: of files that take long, tests that make and use the view; none about tasks and errors.
VIEWS = {f"widgets/{path.stem}": [] for path in sorted((ROOT / "tests/widgets").glob("test_*.py"))} | {
    "widgets/test_drawing_pad": ["test_an_empty_pad_has_no_reading"],
    "widgets/test_interpolation": ["test_moving_the_slider_only_reads"],
    "widgets/test_live": [
        "test_start_trains_as_a_task_and_disables_what_must_not_change_meanwhile",
        "test_pause_holds_the_steps_and_resume_goes_on", "test_the_next_training_is_as_the_controls_say",
    ],
    "widgets/test_method_explorer": ["test_another_method_brings_its_own_sizes"],
    "widgets/test_mixing_desk": ["test_presets"],
    "widgets/test_predict": [
        "test_a_guess_counts_when_it_is_recorded_and_can_be_changed", "test_the_answer_shows_the_guess_and_ends_it",
    ],
    "widgets/test_scale": ["test_the_slider_only_reads"],
    "widgets/test_schedule": ["test_every_control_reaches_curve_gates_and_sentence", "test_one_click_is_one_redraw"],
    "widgets/test_simplex": ["test_every_move_ends_on_a_mixture"],
    "widgets/test_switchboard": [
        "test_before_a_run_it_says_what_to_run_first_and_nothing_can_be_switched",
        "test_a_pattern_sets_many_toggles_and_scores_once",
    ],
}  # fmt: skip
del VIEWS["widgets/test_any_task"], VIEWS["widgets/test_live_errors"]
# Of the core: whole files where most tests meet what differs between versions of PEFT and transformers, single tests of others.
# What Colab has lies between the lowest versions and the newest, with which everything is tested.
CORE = {
    "lowest": {
        "adapters/test_active": [],
        "adapters/test_adapter": [],
        "adapters/test_layers": [],
        "adapters/test_lora": [],
        "gating/test_callback": [
            "test_gates_are_drawn_once_per_optimiser_step[4]", "test_every_evaluation_sees_the_whole_adapter",
            "test_gates_come_off_after_early_stopping", "test_a_resumed_training_is_bitwise_the_uninterrupted_one",
        ],
        "gating/test_checks": [],
        "gating/test_coto": ["test_p_one_is_bitwise_plain_lora_even_with_adapter_dropout"],
        "gating/test_gate_handles": [],
        "gating/test_gated_checkpointing": ["test_checkpointing_gives_the_same_gradients"],
        "gating/test_gated_layer": [],
        "gating/test_gates": [],
        "gating/test_grouping": [],
        "merging/test_merge": [],
        "merging/test_svd": ["test_it_is_pefts_svd"],
        "notebook/test_doctor": ["test_doctor_finds_nothing_wrong_here"],
        "scoring/test_evaluator": [
            "test_variants_of_different_configurations_score_what_peft_computes",
            "test_an_adapter_that_writes_into_the_base_does_not_change_the_scores_of_others[{'init_lora_weights': 'pissa'}]",
        ],
        "scoring/test_tree": [
            "test_random_variants_score_as_in_the_loop[test]", "test_a_language_model_scores_as_in_the_loop[True-True]",
            "test_adapters_of_other_methods_go_one_by_one_and_come_back_in_order",
            "test_a_model_that_is_no_chain_of_linear_layers_is_scored_in_the_loop",
        ],
        "test_language": ["test_training_learns_and_together_as_alone", "test_scores_are_those_of_generation"],
        "training/test_checkpoint": ["test_a_training_goes_on_bitwise"],
        "training/test_loop": [
            "test_p_1_is_bitwise_plain_peft_with_dropout_on", "test_learning_rates_are_those_of_transformers",
            "test_a_step_moves_the_open_blocks_and_leaves_dropped_ones_bitwise_alone",
        ],
        "training/test_many": ["test_so_it_is_for_language_models", "test_a_run_is_saved_loaded_and_scored_as_any"],
        "training/test_recipe": [],
        "training/test_run": [],
    },
    "colab": VIEWS | {
        "gating/test_callback": ["test_a_resumed_training_is_bitwise_the_uninterrupted_one"],
        "scoring/test_evaluator": ["test_variants_of_different_configurations_score_what_peft_computes"],
        "training/test_loop": ["test_p_1_is_bitwise_plain_peft_with_dropout_on"],
        "training/test_run": [],
    },
}  # fmt: skip
SETTINGS = {  # deprecations are errors with the newest versions only: older ones warn of each other
    "lowest": ["-m", "not slow", "-o", "filterwarnings="],
    "colab": ["-W", "ignore:Deprecated in traitlets 4.1:DeprecationWarning"],  # ipywidgets 7 with a newer traitlets
}
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
    chosen = [f"tests/{file}.py{test and f'::{test}'}" for file, tests in CORE[name].items() for test in tests or [""]]
    ran(made(name), "-m", "pytest", "-q", "-p", "no:cacheprovider", *SETTINGS[name], *chosen, cwd=ROOT)


def test_lowest_jupyterlab_finds_both_halves() -> None:
    found = ran(made("lowest"), "-c", EXTENSIONS).split()
    assert {"anywidget", "jupyterlab-plotly", "@jupyter-widgets/jupyterlab-manager"} <= set(found)


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
    """All cells up to the first training's result, as they stand, with the real git and pip, and then a prediction.

    Git is told to take this checkout for the public address.
    """
    python, repository = on_colab
    notebook = nbformat.read(ROOT / "notebooks/03_training_live.ipynb", as_version=4)
    last = [cell.id for cell in notebook.cells].index("trained")
    prediction = [new_code_cell(source) for source in CELLS]
    notebook.cells = [new_code_cell("import google.colab"), *notebook.cells[: last + 1], *prediction, new_code_cell(FOUND)]
    git = {"COUNT": "1", "KEY_0": f"url.{repository.as_uri()}.insteadOf", "VALUE_0": PROJECT["urls"]["Repository"]}
    offline = {"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0"}  # pip reads this 0 as: no isolation
    run_notebook(notebook, python, **offline, **{f"GIT_CONFIG_{name}": value for name, value in git.items()})

    said = {cell.id: "".join(output.get("text", "") for output in cell.outputs) for cell in notebook.cells if "outputs" in cell}
    assert "removed torchao 0.10.0: " in said["install"]
    assert "in Colab, " in said["setup"] and "custom widgets" in said["setup"] and "doctor" not in said["setup"]
    assert "CoTo: " in said["trained"]
    assert "Your guess for LoRA" in prediction[1].outputs[1]["data"]["text/html"], "shown before the click that recorded it"
    *found, package = notebook.cells[-1].outputs[0].text.split()
    assert found == ["False", "False", version("torch"), "6.17.1", "7.7.1"]
    assert Path(package).is_relative_to(python.parents[1])
