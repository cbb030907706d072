"""Change the core in small ways and see whether the tests notice: ``python tests/mutants.py [--module gating/coto] [--all]``.

A mutant is the package with one change: another comparison, operator, sign, number, truth value, ``and`` for ``or``, a ``not``
left out, or a ``raise`` left out. It is killed if the tests of the changed module fail (``tests/gating/test_coto*.py`` for
``gating/coto``, the ``test_bad_input.py`` beside them, and those in BESIDE). A mutant that survives shows a line that no test
holds to its word. Those that change nothing that anybody can observe stand in ``mutants.toml`` with the reason.

The package is copied first; the working tree is never changed. Each mutant runs in a fork of a process that has imported
PyTorch and the other libraries already. (mutmut forks, too, but it puts a function of its own around every function, and our
callback, checkpointing and warnings look at the stack of calls; it takes no sample, and it changes messages. cosmic-ray
changes the working tree and starts a new process, ten seconds, for each mutant.)
"""

from __future__ import annotations

import argparse
import ast
import importlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import tomllib
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

PACKAGE = "coto_lab"
LEAST = 0.95  # of the mutants have to be killed
MODULES = [
    *("gating/gates", "gating/coto", "gating/callback", "gating/schedules", "gating/checks", "gating/grouping"),
    *("gating/selection", "gating/gated_layer", "adapters/lora", "training/recipe", "merging/merge", "studies/statistics"),
    *("scoring/evaluator", "scoring/tree", "scoring/block_chain", "scoring/scores", "scoring/sheet", "scoring/sites"),
    *("scoring/one_by_one", "scoring/sources", "scoring/variant", "scoring/processes", "gating/tree"),
    *("adapters/whole_update", "adapters/methods/fit", "adapters/methods/pissa", "adapters/methods/lora_plus"),
    *("training/groups", "training/dropped"),
]
BESIDE = {  # tests of a module under another name
    "merging/merge": ["merging/test_methods.py"],
    "adapters/methods/pissa": ["adapters/methods/test_olora.py"],
    "gating/gates": ["gating/test_gate_handles.py", "gating/test_gated_layer.py", "gating/test_checks.py"],
    "gating/gated_layer": ["gating/test_gated_checkpointing.py", "gating/test_gate_handles.py", "gating/test_gates.py"],
}
OTHER: dict[type[ast.AST], type[ast.AST]] = {
    **{ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq},
    **{ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And},
    **{ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult},
    **{ast.Pow: ast.Mult, ast.MatMult: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd},
}


@dataclass(frozen=True)
class Mutant:
    """One change: the module, its line there, what stands instead of what, and the changed source."""

    module: str
    number: int
    line: str
    change: str
    source: str


def left_alone(holder: ast.AST, field: str, node: ast.AST) -> bool:
    """Type hints, messages, assertions and names of types."""
    if isinstance(node, ast.keyword) and node.arg == "strict":  # of zip: an assertion, too
        return True
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return True
    if isinstance(holder, ast.Module) and isinstance(node, ast.Assign) and "|" in ast.unparse(node.value):
        return True
    return field in ("annotation", "returns") or isinstance(node, (ast.Assert, ast.JoinedStr))


def places(holder: ast.AST) -> Iterator[tuple[ast.AST, str, int | None, ast.AST]]:
    """What may be changed: the node that holds it, in which field and at which place there, and what to put there."""
    for field, value in ast.iter_fields(holder):
        for i, node in enumerate(value if isinstance(value, list) else [value]):
            at = i if isinstance(value, list) else None
            if not isinstance(node, ast.AST) or left_alone(holder, field, node):
                continue
            if isinstance(node, ast.Raise):
                yield holder, field, at, ast.Pass()
                continue
            if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
                yield holder, field, at, node.operand
            elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
                yield holder, field, at, ast.Constant(not node.value if isinstance(node.value, bool) else node.value + 1)
            elif type(node) in OTHER:
                yield holder, field, at, OTHER[type(node)]()
            yield from places(node)


def put(holder: ast.AST, field: str, at: int | None, node: ast.AST) -> ast.AST:
    """Put a node where another one stands, which is returned."""
    if at is None:
        before = getattr(holder, field)
        setattr(holder, field, node)
    else:
        before, getattr(holder, field)[at] = getattr(holder, field)[at], node
    return before


def mutants(module: str, source: str) -> Iterator[Mutant]:
    """Every mutant of a module."""
    tree, lines = ast.parse(source), source.splitlines()
    seen: Counter[tuple[int, str]] = Counter()
    for holder, *spot, new in list(places(tree)):
        whole = isinstance(new, (ast.operator, ast.cmpop, ast.boolop))  # an operator is shown with what it joins
        old_text = ast.unparse(holder) if whole else ""
        old = put(holder, *spot, new)
        number = (holder if whole else old).lineno  # type: ignore[attr-defined]
        old_text = old_text or ast.unparse(old).partition("(" if isinstance(old, ast.Raise) else "\n")[0]
        change = f"{old_text} -> {ast.unparse(holder if whole else new)}"
        seen[number, change] += 1
        nth = f" ({seen[number, change]})" if seen[number, change] > 1 else ""
        yield Mutant(module, number, lines[number - 1].strip(), change + nth, ast.unparse(tree))
        put(holder, *spot, old)


class Copy:
    """A copy of the package and its tests, in which the tests of a module are run."""

    def __init__(self, root: Path, folder: Path):
        self.folder, self.times = folder, count()
        for part in root.iterdir():
            if part.name in (PACKAGE, "tests"):
                shutil.copytree(part, folder / part.name, ignore=shutil.ignore_patterns("__pycache__"))
            elif not part.name.startswith("."):
                (folder / part.name).symlink_to(part)
        os.environ["PYTHONPATH"] = str(folder)
        os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # pytest refuses plugins that are imported already
        sys.path.insert(0, str(folder))
        os.chdir(folder)

    def tests(self, module: str) -> list[str]:
        room, _, name = module.rpartition("/")
        folder = self.folder / "tests" / room
        own = sorted(folder.glob(f"test_{name}*.py"), key=lambda path: path.stat().st_size)  # the short ones are fast
        own += folder.glob("test_bad_input.py")
        return [*map(str, own), *(f"tests/{path}" for path in BESIDE.get(module, []))]

    def run(self, tests: list[str], limit: float, imported: Path | None = None) -> tuple[bool, str]:
        """Whether the tests pass within ``limit`` seconds, and what they print; what they have imported goes to a file."""
        with tempfile.TemporaryFile("w+") as output:
            if not (child := os.fork()):
                code = 1
                try:
                    os.setsid()
                    os.dup2(output.fileno(), 1)
                    os.dup2(output.fileno(), 2)
                    code = int(pytest.main(["-x", "-q", "--tb=line", "-p", "no:cacheprovider", *tests]))
                    if imported and code == 0:
                        found = [name for name, m in sys.modules.items() if "site-packages" in str(getattr(m, "__file__", ""))]
                        imported.write_text(json.dumps(found))
                except BaseException:
                    traceback.print_exc()
                sys.stdout.flush()
                os._exit(code)
            end = time.monotonic() + limit
            while not (done := os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT | os.WNOHANG)) and time.monotonic() < end:
                time.sleep(0.05)
            with suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)  # also what a test has left behind
            os.waitpid(child, 0)
            output.seek(0)
            return done is not None and done.si_status == 0, output.read()

    def try_out(self, module: str, source: str, limit: float, imported: Path | None = None) -> tuple[bool, str]:
        """`run` the tests of a module while it has another source."""
        path = self.folder / PACKAGE / f"{module}.py"
        before = path.read_bytes()
        path.write_text(source, encoding="utf-8")
        os.utime(path, (0, next(self.times)))  # a time of its own, so that no other mutant's bytecode is taken for its
        try:
            return self.run(self.tests(module), limit, imported)
        finally:
            path.write_bytes(before)

    def limit(self, module: str) -> float:
        """Seconds to wait for the tests of a module, which have to pass on the unchanged package."""
        if not self.tests(module):
            sys.exit(f"{module} has no tests: there is no tests/{module.replace('/', '/test_')}.py.")
        source = ast.unparse(ast.parse((self.folder / PACKAGE / f"{module}.py").read_text(encoding="utf-8")))
        imported = self.folder / "imported.json"
        if self.try_out(module, source, 900, imported)[0]:
            for name in json.loads(imported.read_text()):  # once, for all the processes to come
                with suppress(Exception):
                    importlib.import_module(name)
        started = time.monotonic()
        passed, output = self.try_out(module, source, 900)
        if not passed:
            sys.exit(f"{module}: its tests fail without any change:\n{output}")
        return 3 * (time.monotonic() - started) + 10


def explained(root: Path, everything: list[Mutant], modules: list[str]) -> set[tuple[str, str, str]]:
    """The mutants that ``mutants.toml`` explains; each must still be one."""
    path = root / "tests/mutants.toml"
    entries = tomllib.loads(path.read_text(encoding="utf-8"))["accepted"] if path.exists() else []
    keys = {
        (entry["module"], entry["line"], entry["change"]) for entry in entries if entry["why"] and entry["module"] in modules
    }
    if stale := keys - {(m.module, m.line, m.change) for m in everything}:
        sys.exit(
            f"mutants.toml explains what is no mutant any more: {sorted(stale)}. Take it out, or change it as the line did."
        )
    return keys


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--module", action="append", help="only this one, e.g. gating/coto; may be given several times")
    parser.add_argument("--sample", type=int, default=200, help="how many mutants of all modules together (default: 200)")
    parser.add_argument("--all", action="store_true", help="every mutant, no sample")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[1], help="holds the package and its tests")
    args = parser.parse_args()
    modules, root = args.module or MODULES, args.root.resolve()
    everything = [m for name in modules for m in mutants(name, (root / PACKAGE / f"{name}.py").read_text(encoding="utf-8"))]
    known = explained(root, everything, modules)
    chosen = [m for m in everything if (m.module, m.line, m.change) not in known]
    if not args.all and args.sample < len(chosen):
        chosen = [chosen[i] for i in sorted(random.Random(args.seed).sample(range(len(chosen)), args.sample))]
    survivors: list[Mutant] = []
    with tempfile.TemporaryDirectory() as folder:
        place = Copy(root, Path(folder))
        for module in modules:
            members = [mutant for mutant in chosen if mutant.module == module]
            limit = place.limit(module) if members else 0.0
            for mutant in members:
                if place.try_out(module, mutant.source, limit)[0]:
                    print(f"survived: {PACKAGE}/{module}.py:{mutant.number}: {mutant.line}\n    {mutant.change}", flush=True)
                    survivors.append(mutant)
            alive = sum(mutant.module == module for mutant in survivors)
            print(f"{module:28} {len(members) - alive}/{len(members)}", flush=True)
    share = 1 - len(survivors) / max(len(chosen), 1)
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} killed ({share:.1%}); {LEAST:.0%} are asked for")
    return int(share < LEAST)


if __name__ == "__main__":
    sys.exit(main())
