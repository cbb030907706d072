"""What is sent to workers, and what they refuse."""

from __future__ import annotations

import pickle
import subprocess
import sys
from functools import partial
from pathlib import Path

import joblib
import pytest
from joblib import wrap_non_picklable_objects

from coto_lab.ground.versions import version_of
from coto_lab.training import jobs

VERSIONS = {name: version_of(name) for name in jobs.PACKAGES}


def elsewhere(work: object, folder: Path, versions: dict[str, str] = VERSIONS) -> subprocess.CompletedProcess[bytes]:
    """Have a fresh process do a job; it looks for packages in ``folder`` first, and prints the result."""
    job = partial(jobs._job(), 3, pickle.dumps(wrap_non_picklable_objects(work)), versions)
    code = f"import pickle, sys; sys.path.insert(0, {str(folder)!r}); print(pickle.load(sys.stdin.buffer)())"
    content = pickle.dumps(wrap_non_picklable_objects(job))
    return subprocess.run([sys.executable, "-c", code], input=content, capture_output=True, timeout=120)


def stub(folder: Path, version: str, code: str = "") -> Path:
    """A package ``coto_lab`` of another making."""
    package, about = folder / "coto_lab", folder / f"coto_lab-{version}.dist-info"
    package.mkdir(), about.mkdir()
    (package / "__init__.py").write_text(code)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: coto_lab\nVersion: {version}\n")
    return folder


def test_a_worker_with_the_same_versions_does_the_job(tmp_path: Path) -> None:
    done = elsewhere(partial(sorted, [2, 1]), tmp_path)
    assert done.stdout.decode().strip() == "(3, [1, 2])", done.stderr.decode()


def test_a_build_for_another_device_is_no_other_version(tmp_path: Path) -> None:
    assert elsewhere(partial(sorted, []), tmp_path, {"torch": VERSIONS["torch"].split("+")[0] + "+cu128"}).returncode == 0


def test_a_worker_with_another_version_says_so(tmp_path: Path) -> None:
    done = elsewhere(partial(sorted, []), stub(tmp_path, "0.0.1"))
    said = done.stderr.decode()
    assert done.returncode == 1
    assert f"has coto_lab 0.0.1, and this process has coto_lab {VERSIONS['coto_lab']}." in said and "the worker on '" in said


def test_a_worker_without_a_package_says_so(tmp_path: Path) -> None:
    said = elsewhere(partial(sorted, []), tmp_path, {"no_such_package": "1.0"}).stderr.decode()
    assert "has no_such_package unknown, and this process has no_such_package 1.0." in said


def test_a_worker_that_lacks_a_module_of_the_job_says_so(tmp_path: Path) -> None:
    said = elsewhere(partial(jobs.one_at_a_time, len, []), stub(tmp_path, VERSIONS["coto_lab"])).stderr.decode()
    assert "cannot read its job: No module named 'coto_lab.training'" in said and "PYTHONPATH" in said


def fail(group: int) -> int:
    if group == 1:
        raise ArithmeticError("group 1 fails")
    return group


def test_what_a_job_raises_comes_back_with_the_name_of_its_worker() -> None:
    with pytest.raises(ArithmeticError, match="group 1 fails") as caught:
        list(jobs.done_by_workers(fail, [0, 1, 2], 2))
    assert any("was raised on the worker on" in note for note in caught.value.__notes__)


def test_results_come_with_their_places() -> None:
    assert sorted(jobs.done_by_workers(len, ["", "a", "ab"], 2)) == [(0, 0), (1, 1), (2, 2)]


def test_what_cannot_be_sent_is_no_lost_worker() -> None:
    with pytest.raises(TypeError, match="cannot pickle"):
        list(jobs.done_by_workers(partial(max, (i for i in "generator")), ["a"], 2))


def test_a_process_does_one_job_at_a_time() -> None:
    with pytest.raises(RuntimeError, match=r"two trainings at once.*--nthreads 1"):
        jobs.one_at_a_time(partial(jobs.one_at_a_time, len), [])
    assert jobs.one_at_a_time(len, [7]) == 1, "it is free again"


@pytest.mark.parametrize(
    ("n_jobs", "settings", "expected"),
    [
        (None, {}, None),
        (1, {}, None),
        (3, {}, 3),
        (None, {"n_jobs": 3}, 3),
        (2, {"n_jobs": 3}, 2),
        (None, {"backend": "threading", "n_jobs": 3}, None),  # trainings in threads would share torch's random numbers
        (None, {"backend": "multiprocessing", "n_jobs": 3}, 3),
    ],
)
def test_who_works(n_jobs: int | None, settings: dict, expected: int | None) -> None:
    with joblib.parallel_config(**settings):
        assert jobs.workers(n_jobs) == expected
    assert jobs.workers(None) is None
