"""Quantised bases: what is refused, and what transformers is asked for. The packages for it are stubs here, of some version."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers
from tiny_classifiers import save_text_model

from coto_lab.tasks.hub.quantised import check_quantised, quantisation
from coto_lab.tasks.hub.source import Source


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Makes a package that can be found, of a version, with nothing in it."""

    def make(package: str, version: str) -> None:
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
        facts = tmp_path / f"{package}-{version}.dist-info"
        facts.mkdir()
        (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
        monkeypatch.syspath_prepend(tmp_path)

    return make


@pytest.mark.parametrize(
    ("quantised", "package"), [("nf4", "bitsandbytes"), ("int8", "bitsandbytes"), ("int8-torchao", "torchao")]
)
def test_a_package_that_is_absent_is_named_with_its_pip_line(quantised: str, package: str, tmp_path: Path) -> None:
    source = Source(save_text_model(tmp_path, "bert"), quantised=quantised)
    said = rf"quantised='{quantised}' needs the package {package}: `pip install {package}`, or take quantised=None"
    with pytest.raises(ImportError, match=said):
        source.load(transformers.AutoModelForSequenceClassification, whole=("classifier",))


@pytest.mark.parametrize(
    ("package", "quantised", "oldest"), [("torchao", "int8-torchao", "0.16"), ("bitsandbytes", "nf4", "0.48")]
)
def test_an_old_package_is_refused(package: str, quantised: str, oldest: str, stub) -> None:
    stub(package, "0.10.0")
    with pytest.raises(ImportError, match=rf"the installed {package} 0\.10\.0 is too old: `pip install '{package}>={oldest}'`"):
        check_quantised(quantised)


def test_a_new_torchao_is_accepted(stub) -> None:
    stub("torchao", "0.16.0")
    check_quantised("int8-torchao")


def test_bitsandbytes_without_a_gpu_is_refused(stub, monkeypatch: pytest.MonkeyPatch) -> None:
    stub("bitsandbytes", "0.50.0")
    monkeypatch.setattr("coto_lab.tasks.hub.quantised.default_device", lambda: torch.device("cpu"))
    with pytest.raises(ValueError, match=r"quantised='nf4': bitsandbytes quantises on a GPU, and there is none here"):
        check_quantised("nf4")


def test_what_trains_whole_is_not_quantised(stub) -> None:
    stub("bitsandbytes", "0.50.0")
    four, eight = (quantisation(kind, torch.bfloat16, ("classifier",)) for kind in ("nf4", "int8"))
    assert (four.load_in_4bit, four.bnb_4bit_quant_type, four.bnb_4bit_compute_dtype) == (True, "nf4", torch.bfloat16)
    assert (eight.load_in_8bit, eight.load_in_4bit) == (True, False)
    assert four.llm_int8_skip_modules == eight.llm_int8_skip_modules == ["classifier", "lm_head"]
