"""Change the core in small ways and see whether the tests notice: ``python tests/mutants.py [--module gating/coto] [--all]``.

A mutant is the package with one change: another comparison, operator, sign, number, truth value, ``and`` for ``or``, a ``not``
left out, or a ``raise`` left out. It is killed if the tests of the changed module fail (``tests/gating/test_coto*.py`` for
``gating/coto``, and those that BESIDE names). A mutant that survives shows a line that no test holds to its word. Those that
change nothing that anybody can observe stand in ``mutants.toml`` with the reason.

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

ROOT = Path(__file__).parents[1]
LEAST = 0.95  # of the mutants have to be killed
MODULES = [
    *("gating/gates", "gating/coto", "gating/callback", "gating/schedules", "gating/checks", "gating/grouping"),
    *("gating/selection", "gating/gated_layer", "adapters/lora", "training/recipe", "merging/merge", "studies/statistics"),
    *("scoring/evaluator", "scoring/tree", "scoring/block_chain", "scoring/scores", "scoring/sheet", "scoring/sites"),
    *("scoring/one_by_one", "scoring/sources"),
]
BESIDE = {  # tests of a module under another name
    "gating/gates": ["gating/test_gate_handles.py", "gating/test_every_method.py"],
    "gating/gated_layer": ["gating/test_gated_checkpointing.py", "gating/test_gate_handles.py"],
    "gating/checks": ["gating/test_gates.py"],
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


def places(node: ast.AST) -> Iterator[tuple[ast.AST, str, ast.AST]]:
    """What may be changed: a node, its field (with ``.i`` in a list), and what to put there; no messages, no type hints."""
    hints = {"annotation", "returns", "type_comment"}
    for field, value in ast.iter_fields(node):
        for i, child in enumerate(value if isinstance(value, list) else [value]):
            spot = f"{field}.{i}" if isinstance(value, list) else field
            if field in hints or not isinstance(child, ast.AST) or isinstance(child, (ast.Assert, ast.JoinedStr)):
                continue
            if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
                continue
            if isinstance(child, ast.keyword) and child.arg == "strict":  # an assertion of our own, as assert is
                continue
            if isinstance(child, ast.Raise):
                yield node, spot, ast.Pass()
                continue
            if isinstance(node, ast.Module) and isinstance(child, ast.Assign) and "|" in ast.unparse(child.value):
                continue  # the name of a type
            if isinstance(child, ast.UnaryOp) and isinstance(child.op, (ast.Not, ast.USub)):
                yield node, spot, child.operand
            elif isinstance(child, ast.Constant) and isinstance(child.value, (int, float)):
                number = not child.value if isinstance(child.value, bool) else child.value + 1
                yield node, spot, ast.Constant(number)
            elif type(child) in OTHER:
                yield node, spot, OTHER[type(child)]()
            yield from places(child)


def put(node: ast.AST, spot: str, child: ast.AST) -> ast.AST:
    """Write ``child`` into a node; what stood there."""
    field, _, index = spot.partition(".")
    if not index:
        before = getattr(node, field)
        setattr(node, field, child)
        return before
    children = getattr(node, field)
    before, children[int(index)] = children[int(index)], child
    return before


def mutants(module: str, source: str) -> Iterator[Mutant]:
    """Every mutant of a module, in the order of its lines."""
    tree, lines = ast.parse(source), source.splitlines()
    seen: Counter[tuple[int, str]] = Counter()
    for node, spot, new in list(places(tree)):
        holder = node if isinstance(new, (ast.operator, ast.cmpop, ast.boolop)) else None
        old_text = ast.unparse(holder) if holder else ""
        old = put(node, spot, new)
        number = getattr(holder or old, "lineno", 0)
        if isinstance(old, ast.Raise):
            old_text = ast.unparse(old).partition("(")[0]
        text = f"{old_text or ast.unparse(old)} -> {ast.unparse(holder or new)}"
        seen[number, text] += 1
        nth = f" ({seen[number, text]})" if seen[number, text] > 1 else ""
        yield Mutant(module, number, lines[number - 1].strip(), text + nth, ast.unparse(tree))
        put(node, spot, old)


class Copy:
    """A copy of the package and its tests, in which the tests of a module are run."""

    def __init__(self, root: Path, package: str, folder: Path):
        self.root, self.package, self.folder = root, package, folder
        for part in root.iterdir():
            if part.name in (package, "tests"):
                shutil.copytree(part, folder / part.name, ignore=shutil.ignore_patterns("__pycache__"))
            elif not part.name.startswith("."):
                (folder / part.name).symlink_to(part)
        os.environ["PYTHONPATH"] = str(folder)
        os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # pytest refuses plugins that are imported already
        self.times = count()
        sys.path.insert(0, str(folder))
        os.chdir(folder)

    def tests(self, module: str) -> list[str]:
        room, _, name = module.rpartition("/")
        own = sorted((self.folder / "tests" / room).glob(f"test_{name}*.py"))
        return [*map(str, own), *(str(self.folder / "tests" / path) for path in BESIDE.get(module, []))]

    def run(self, tests: list[str], limit: float, imported: Path | None = None) -> tuple[bool, str]:
        """Whether the tests pass within ``limit`` seconds, and what they print; what they have imported goes to a file."""
        with tempfile.TemporaryFile("w+") as output:
            if not (child := os.fork()):
                os.setsid()
                os.dup2(output.fileno(), 1)
                os.dup2(output.fileno(), 2)
                code = 1
                try:
                    code = int(pytest.main(["-x", "-q", "--tb=line", "-p", "no:cacheprovider", *tests]))
                    if imported and code == 0:
                        found = [name for name, m in sys.modules.items() if "site-packages" in str(getattr(m, "__file__", ""))]
                        imported.write_text(json.dumps(found))
                except BaseException:
                    traceback.print_exc()
                sys.stdout.flush()
                os._exit(code)
            end = time.monotonic() + limit
            while not (done := os.waitpid(child, os.WNOHANG))[0] and time.monotonic() < end:
                time.sleep(0.05)
            with suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)  # also what a test has left behind
            if not done[0]:
                done = os.waitpid(child, 0)
            output.seek(0)
            return os.waitstatus_to_exitcode(done[1]) == 0, output.read()

    def limit(self, module: str) -> float:
        """Seconds to wait for the tests of a module, which have to pass on the unchanged package."""
        if not self.tests(module):
            sys.exit(f"{module} has no tests: there is no tests/{module.replace('/', '/test_')}.py.")
        source = ast.unparse(ast.parse((self.folder / self.package / f"{module}.py").read_text(encoding="utf-8")))
        imported = self.folder / "imported.json"
        if not self.try_out(module, source, 900, imported)[0]:
            imported.write_text("[]")  # the second run says why
        for name in json.loads(imported.read_text()):  # once, for all the processes to come
            with suppress(Exception):
                importlib.import_module(name)
        started = time.monotonic()
        passed, output = self.try_out(module, source, 900)
        if not passed:
            sys.exit(f"{module}: its tests fail without any change:\n{output}")
        return 3 * (time.monotonic() - started) + 10

    def try_out(self, module: str, source: str, limit: float, imported: Path | None = None) -> tuple[bool, str]:
        """`run` the tests of a module while it has another source."""
        path = self.folder / self.package / f"{module}.py"
        before, stat = path.read_bytes(), path.stat()
        path.write_text(source, encoding="utf-8")
        os.utime(path, (0, next(self.times)))  # a time of its own, so that no other mutant's bytecode is taken for its
        try:
            return self.run(self.tests(module), limit, imported)
        finally:
            path.write_bytes(before)
            os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def accepted(root: Path, everything: dict[str, list[Mutant]]) -> set[tuple[str, str, str]]:
    """The mutants that ``mutants.toml`` explains; each must still be one."""
    path = root / "tests/mutants.toml"
    entries = tomllib.loads(path.read_text(encoding="utf-8"))["accepted"] if path.exists() else []
    keys = {(entry["module"], entry["line"], entry["change"]) for entry in entries if entry["why"]}
    known = {(m.module, m.line, m.change) for members in everything.values() for m in members}
    if stale := [key for key in keys if key[0] in everything and key not in known]:
        sys.exit(
            f"mutants.toml explains what is no mutant any more: {stale}. Take it out, or change it as the line has changed."
        )
    return keys


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--module", action="append", help="only this one, e.g. gating/coto; may be given several times")
    parser.add_argument("--sample", type=int, default=200, help="how many mutants of all modules together (default: 200)")
    parser.add_argument("--all", action="store_true", help="every mutant, no sample")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--root", type=Path, default=ROOT, help="the folder that holds the package and its tests")
    parser.add_argument("--package", default="coto_lab")
    args = parser.parse_args()
    modules, root = args.module or MODULES, args.root.resolve()
    everything = {m: list(mutants(m, (root / args.package / f"{m}.py").read_text(encoding="utf-8"))) for m in modules}
    explained = accepted(root, everything)
    chosen = [m for members in everything.values() for m in members if (m.module, m.line, m.change) not in explained]
    if not args.all and args.sample < len(chosen):
        chosen = [chosen[i] for i in sorted(random.Random(args.seed).sample(range(len(chosen)), args.sample))]
    table: dict[str, tuple[int, int]] = {}
    with tempfile.TemporaryDirectory() as folder:
        place = Copy(root, args.package, Path(folder))
        for module in modules:
            members = [mutant for mutant in chosen if mutant.module == module]
            limit = place.limit(module) if members else 0.0
            alive = 0
            for mutant in members:
                if place.try_out(module, mutant.source, limit)[0]:
                    print(
                        f"survived: {args.package}/{module}.py:{mutant.number}: {mutant.line}\n    {mutant.change}", flush=True
                    )
                    alive += 1
            table[module] = len(members) - alive, len(members)
    print("".join(f"{module:28} {killed}/{tried}\n" for module, (killed, tried) in table.items()))
    killed = sum(killed for killed, _ in table.values())
    print(f"{killed} of {len(chosen)} killed ({killed / max(len(chosen), 1):.1%}); {LEAST:.0%} are asked for")
    return int(killed < LEAST * len(chosen))


if __name__ == "__main__":
    sys.exit(main())
