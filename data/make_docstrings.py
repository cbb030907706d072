"""Collect docstrings of eight libraries and write ``data/docstrings``: ``python data/make_docstrings.py``.

The texts are read from the installed sources without importing them, so the versions decide what is found; ``docstrings.json``
names them. The libraries' licences allow it: see ``data/README.md``. The vectors of the classes are made by MiniLM.
"""

from __future__ import annotations

import ast
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from zlib import crc32

import torch
from safetensors.torch import save_file

from coto_lab.ground.files import new_folder
from coto_lab.tasks.docstrings import FOLDER, LIBRARIES, TEXTS, VECTORS, class_vector

LEAST_WORDS, MOST_WORDS = 12, 28
PER_CLASS = {"train": 250, "test": 50}
DISTRIBUTIONS = {"PyTorch": "torch"}  # where it is not the library's name
MOST_OF_A_MODULE = 12  # texts of one file are alike
NOT_LIBRARY_CODE = {"tests", "test", "testing", "_testing", "conftest", "_vendor", "externals"}
_SECTION = re.compile(r"^[^\n]*\n[ \t]*[-=]{3,}|^[ \t]*(\.\. |>>>|Args:|Examples?:|Returns:)", re.MULTILINE)
_NAMES = re.compile(
    r"\b(numpy|np|scipy|pandas|pd|scikit-learn|scikit|sklearn|matplotlib|mpl|pyplot|plt|pytorch|torch|sympy|networkx|nx)\b",
    re.IGNORECASE,
)


def docstrings(package: str) -> Iterator[tuple[str, str]]:
    """Module and docstring of every class and function of an installed package."""
    (root,) = find_spec(package).submodule_search_locations  # type: ignore[union-attr]
    for path in sorted(Path(root).rglob("*.py")):
        parts = path.relative_to(Path(root).parent).with_suffix("").parts
        if NOT_LIBRARY_CODE.intersection(parts) or parts[-1].startswith("test_"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and (text := ast.get_docstring(node)):
                yield ".".join(part for part in parts if part != "__init__"), text


def prose(docstring: str) -> str:
    """The first words of a docstring: nothing from its first section or example on, names of the libraries masked."""
    text = docstring[: found.start()] if (found := _SECTION.search(docstring)) else docstring
    return " ".join(_NAMES.sub("[MASK]", text).split()[:MOST_WORDS])


def split_of(module: str) -> str:
    """By checksum: a third of all modules is for the test."""
    return "test" if crc32(module.encode()) % 3 == 0 else "train"


def collect() -> list[dict[str, str]]:
    """The examples of all libraries, by split, library and checksum."""
    examples, seen = [], set()
    for library, package in LIBRARIES.items():
        found: dict[str, list[tuple[int, str, str]]] = defaultdict(list)
        for module, docstring in docstrings(package):
            text = prose(docstring)
            if len(text.split()) >= LEAST_WORDS and text.lower() not in seen:
                seen.add(text.lower())
                found[split_of(module)].append((crc32(text.encode()), module, text))
        for split, wanted in PER_CLASS.items():
            taken: Counter[str] = Counter()
            chosen = []
            for _, module, text in sorted(found[split]):
                if taken[module] < MOST_OF_A_MODULE and len(chosen) < wanted:
                    taken[module] += 1
                    chosen.append({"split": split, "library": library, "module": module, "text": text})
            if len(chosen) < wanted:
                raise SystemExit(f"{library} has {len(chosen)} texts for {split}, and {wanted} are wanted.")
            examples += chosen
    return sorted(examples, key=lambda example: example["split"], reverse=True)


def main() -> None:
    examples = collect()
    versions = {library: version(DISTRIBUTIONS.get(library, library)).partition("+")[0] for library in LIBRARIES}
    with new_folder(Path(__file__).parent / FOLDER, overwrite=True) as folder:
        lines = ",\n".join(json.dumps(example, ensure_ascii=False) for example in examples)
        (folder / TEXTS).write_text(f'{{"versions": {json.dumps(versions)},\n"examples": [\n{lines}\n]}}\n', encoding="utf-8")
        of_library = [[e["text"] for e in examples if (e["split"], e["library"]) == ("train", name)] for name in LIBRARIES]
        save_file({"classes": torch.stack([class_vector(texts) for texts in of_library])}, folder / VECTORS)


if __name__ == "__main__":
    main()
