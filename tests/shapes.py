"""Checks of the shapes in annotations while tests run: `conftest` installs them before anything imports coto_lab.

Every function and method in the rooms below is checked whose annotations name the shape or the dtype of a tensor, and every
record (a dataclass when it is made): beartype compares what goes in and what comes out with the annotations, and jaxtyping sees
to it that a dimension of one name has one size within a call. Of a dict or a list, beartype looks at one entry.

All other annotations are left to mypy, since tests put small objects of their own in the place of a model or a widget.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import FunctionType, ModuleType
from typing import Any, get_args

from beartype import BeartypeConf, beartype
from jaxtyping import AbstractArray, jaxtyped

ROOMS = {"gating", "tasks", "training", "scoring", "merging", "probes", "studies"}  # through which tensors are handed

_beartype = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a float, too, as for mypy


def install() -> None:
    """From now on, modules of these rooms are imported with checks."""
    assert "coto_lab" not in sys.modules, "coto_lab was imported before, without checks"
    sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        package, room = [*name.split("."), ""][:2]
        if package != "coto_lab" or room not in ROOMS:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


class _Loader(SourceFileLoader):
    """Puts checks on what a module defines, before another module can import it.

    jaxtyping's own import hook puts them on every function, and a warning that names its caller then names jaxtyping.
    """

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        for name, value in list(vars(module).items()):
            if getattr(value, "__module__", None) != module.__name__:
                continue  # imported
            if inspect.isclass(value):
                for member, content in list(vars(value).items()):  # the __init__ of a dataclass among them
                    if (checked := with_checks(content)) is not content:
                        setattr(value, member, checked)
            setattr(module, name, with_checks(value))


def with_checks(value: Any) -> Any:
    """A function, property or class method that is checked when it is called; anything else, and without shapes, itself."""
    function = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
    function = inspect.unwrap(function) if callable(function) else function
    if not isinstance(function, FunctionType) or not (hints := dict(_shapes(function))):
        return value
    function.__annotations__ |= hints  # beartype would look up the names in the module of a decorator, such as no_grad's
    return jaxtyped(value, typechecker=_after_the_call)


def _shapes(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """The annotations that name a shape or a dtype."""
    for name, hint in function.__annotations__.items():
        try:
            hint = eval(hint, function.__globals__) if isinstance(hint, str) else hint
        except NameError:
            continue  # imported for mypy only
        if _has_shape(hint):
            yield name, hint


def _has_shape(hint: object) -> bool:
    return (isinstance(hint, type) and issubclass(hint, AbstractArray)) or any(map(_has_shape, get_args(hint)))


def _after_the_call(stub: Callable[..., Any]) -> Callable[..., Any]:
    """Have beartype check arguments and results once a function has returned.

    So one that refuses an argument raises its own error in tests, as it does for users. jaxtyping makes two stubs of each
    function: one takes the arguments, and the other, which is called later, the arguments and the result, as ``ret0``.
    """
    if "ret0" not in inspect.signature(stub).parameters:
        return stub
    stub.__annotations__ = {name: hint if _has_shape(hint) else Any for name, hint in stub.__annotations__.items()}
    return _beartype(stub)
