"""The public names: complete, explained to readers, and imported by them from where they are public."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import pkgutil
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

import coto_lab
from coto_lab.adapters.methods.method import Method
from coto_lab.adapters.methods.registry import known_methods

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CELLS = {
    path.name: json.loads(path.read_text(encoding="utf-8"))["cells"] for path in sorted((ROOT / "notebooks").glob("*.ipynb"))
}


def join(name: str, kind: str) -> str:
    return "\n".join("".join(cell["source"]) for cell in CELLS[name] if cell["cell_type"] == kind)


# What a reader sees, and the code in it. Lines that begin with % or ! are for IPython.
TEXT = README + "\n".join(join(name, kind) for name in CELLS for kind in ("markdown", "code"))
CODE = {"README.md": "\n".join(re.findall(r"^```python\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE))}
CODE |= {name: re.sub(r"^(\s*)[%!].*$", r"\1pass", join(name, "code"), flags=re.MULTILINE) for name in CELLS}


def public(kind: Callable[[object], bool]) -> Iterator[tuple[str, object]]:
    """The classes or functions without an underscore in their own name or their module's: name and object."""
    for found in pkgutil.walk_packages(coto_lab.__path__, "coto_lab."):
        if "._" not in found.name:
            for name, value in vars(importlib.import_module(found.name)).items():
                if not name.startswith("_") and kind(value) and value.__module__ == found.name:
                    yield name, value


def is_protocol(kind: object) -> bool:
    return bool(getattr(kind, "_is_protocol", False))


def implements(kind: type, base: type) -> bool:
    """Whether a class inherits from ``base``; a protocol asks nobody to inherit, so there its members decide."""
    if not is_protocol(base):
        return issubclass(kind, base)
    members = {name for name in (*vars(base), *inspect.get_annotations(base)) if not name.startswith("_")}
    return members <= {*dir(kind), *getattr(kind, "__dataclass_fields__", ())}


def offered(holder: ModuleType) -> list[object]:
    return [getattr(holder, name) for name in getattr(holder, "__all__", ())]


def room_of(module: str) -> ModuleType:
    return importlib.import_module(".".join(module.split(".")[:2]))


def test_what_the_package_imports_is_what_it_offers() -> None:
    imported = {
        name
        for name, value in vars(coto_lab).items()
        if not inspect.ismodule(value) and str(getattr(value, "__module__", "")).startswith("coto_lab.")
    }
    assert imported | {"CoToCallback"} == set(coto_lab.__all__), "CoToCallback is imported when it is asked for"
    assert len(set(coto_lab.__all__)) == len(coto_lab.__all__)


@pytest.mark.parametrize("name", coto_lab.__all__)
def test_public_names_are_explained(name: str) -> None:
    assert getattr(coto_lab, name).__doc__
    assert re.search(rf"\b{name}\b", TEXT), "neither the README nor a notebook says what it is for"


def test_every_implementation_can_be_found() -> None:
    """Each kind of an abstract class or a public protocol is in ``coto_lab.__all__``, in its room's, or known by its name."""
    classes = list(public(inspect.isclass))
    protocols = [kind for name, kind in classes if is_protocol(kind) and name in coto_lab.__all__]
    bases = protocols + [kind for _, kind in classes if inspect.isabstract(kind)]
    assert {coto_lab.Schedule, coto_lab.Task, Method} <= set(bases)
    for base in bases:
        kinds = [kind for _, kind in classes if kind is not base and implements(kind, base)]
        assert kinds, f"nothing implements {base.__name__}"
        for kind in kinds:
            found = [*offered(coto_lab), *offered(room_of(kind.__module__)), *known_methods().values()]
            assert kind in found, f"{kind.__module__}.{kind.__name__} is a {base.__name__} that no __all__ names"


def imports(code: str) -> Iterator[tuple[str, str]]:
    """Pairs (module, name) that code imports from the package."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "coto_lab":
            yield from ((node.module, alias.name) for alias in node.names)


@pytest.mark.parametrize("document", CODE)
def test_readers_import_names_from_where_they_are_public(document: str) -> None:
    found = list(imports(CODE[document]))
    assert found
    for place, name in found:
        module = importlib.import_module(place)
        value = getattr(module, name)
        assert "._" not in f"{place}.{name}", f"{place}.{name} is private"
        if hasattr(module, "__all__"):
            assert name in module.__all__, f"{place} does not offer {name}"
        else:
            assert getattr(value, "__module__", place) == place, f"{name} is defined in {value.__module__}, not in {place}"
            assert name in getattr(room_of(place), "__all__", [name]), f"{room_of(place).__name__} does not offer {name}"


def test_every_probe_of_a_task_is_explained() -> None:
    functions = [(name, f) for name, f in public(inspect.isfunction) if f.__module__.startswith("coto_lab.probes.")]
    probes = [name for name, function in functions if next(iter(inspect.signature(function).parameters), "") == "task"]
    assert {"interpolate", "prune", "shapley", "stability"} <= set(probes)
    assert [name for name in probes if not re.search(rf"\b{name}\b", TEXT)] == []
