"""The shapes that annotations name are checked while tests run, and only then."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
import subprocess
import sys

import pytest
import shapes
import torch
from jaxtyping import Float, Int64, TypeCheckError
from torch import Tensor

import coto_lab
from coto_lab import Scores
from coto_lab.probes.interpolation import Curve, line
from coto_lab.probes.stability import Stability

ONES = torch.ones(2, 3, dtype=torch.float64)


def violation(error: pytest.ExceptionInfo[TypeCheckError]) -> str:
    """What beartype said."""
    return str(error.value.__cause__)


def test_a_wrong_shape_is_caught() -> None:
    with pytest.raises(TypeCheckError) as error:
        line(torch.ones(2, 3))
    assert 'parameter alphas="tensor' in violation(error) and "this array has 2 dimensions, not the 1 expected" in violation(
        error
    )


def test_a_wrong_dtype_is_caught() -> None:
    with pytest.raises(TypeCheckError) as error:
        Scores(("a", "b"), {"loss": ONES, "correct": ONES}, outputs=torch.ones(2, 3, 4, dtype=torch.float64))
    assert "parameter outputs=" in violation(error) and "Float32[Tensor, 'V N classes']" in violation(error)
    with pytest.raises(TypeCheckError):
        Scores(("a", "b"), {"loss": ONES.float()})  # in a dict, too


def test_arguments_that_disagree_on_a_dimension_are_caught() -> None:
    @shapes.with_checks
    def scaled(values: Float[Tensor, "P n"], by: Float[Tensor, " n"]) -> Float[Tensor, "P n"]:
        return values * by  # torch repeats a vector of one number without a word

    assert scaled(torch.ones(2, 3), torch.ones(3)).shape == (2, 3)
    with pytest.raises(TypeCheckError, match="n=3") as error:
        scaled(torch.ones(2, 3), torch.ones(1))
    assert 'parameter by="tensor' in violation(error)


def test_fields_of_a_record_that_disagree_are_caught() -> None:
    masks = torch.ones(4, 8, dtype=torch.bool)
    Stability(masks, torch.ones(4).double(), torch.ones(4).double())
    with pytest.raises(TypeCheckError, match="M=4"):
        Stability(masks, torch.ones(4).double(), torch.ones(5).double())
    curve = Curve(torch.ones(3).double(), torch.ones(3).double(), torch.ones(3).double(), "fuse")
    with pytest.raises(TypeCheckError, match="n=3"):
        dataclasses.replace(curve, loss=torch.ones(2).double())


def test_a_wrong_result_is_caught() -> None:
    @shapes.with_checks
    def doubled(values: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        return torch.cat([values, values])

    with pytest.raises(TypeCheckError, match="n=3"):
        doubled(torch.ones(3))


def test_a_function_that_refuses_an_argument_raises_its_own_error() -> None:
    @shapes.with_checks
    def first(values: Int64[Tensor, " n"], place: int = 0) -> int:
        if not len(values):
            raise ValueError("values is empty")
        return int(values[place])

    assert first(torch.arange(3)) == 0
    with pytest.raises(ValueError, match="values is empty"):
        first(torch.ones(0, 2))
    with pytest.raises(TypeCheckError):
        first(torch.ones(1))


def test_every_annotation_with_a_shape_is_checked() -> None:
    """Also that of a method, a property, a class method, and a function that a decorator wraps."""
    names = [module.name for module in pkgutil.walk_packages(coto_lab.__path__, "coto_lab.")]
    modules = [importlib.import_module(name) for name in names if name.split(".")[1] in shapes.ROOMS]
    found = 0
    for module in modules:
        own = [value for value in vars(module).values() if getattr(value, "__module__", None) == module.__name__]
        for owner in own:
            members = vars(owner).values() if inspect.isclass(owner) else [owner]
            for member in members:
                checked = shapes.with_checks(member)  # which leaves alone what has no shapes
                if checked is not member:
                    function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
                    assert "jaxtyping" in function.__code__.co_filename, f"{module.__name__}: {function.__qualname__}"
                    found += 1
    assert found > 80


def test_the_package_itself_does_without_beartype() -> None:
    code = "import sys, coto_lab, coto_lab.probes.theory; print('beartype' in sys.modules, 'jaxtyping' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "False True\n"
