"""The command ``python -m coto_lab report``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from coto_lab.report.data import KINDS, named_task
from coto_lab.report.made_words import kept_words
from coto_lab.report.make import report
from coto_lab.report.places import check_apart, check_page
from coto_lab.report.words import score_words

_OPTIONS = {  # of a task of the hub: option -> what argparse is told
    "--subset": {"help": "configuration of the data set"},
    "--splits": {"nargs": 2, "metavar": ("TRAIN", "TEST"), "help": "its splits; the report scores on the second"},
    "--text": {"nargs": "+", "metavar": "COLUMN", "help": "one column of texts, or two of pairs"},
    "--image": {"metavar": "COLUMN"},
    "--label": {"metavar": "COLUMN"},
    "--labels": {"nargs": "+", "metavar": "NAME", "help": "the classes in the order of their numbers"},
    "--prompt": {"metavar": "COLUMN", "help": "of a causal model; of CLIP the text with {} for the class"},
    "--answer": {"metavar": "COLUMN"},
    "--max-length": {"type": int, "metavar": "TOKENS"},
    "--shots": {"type": int},
    "--revision": {"help": "of the model: branch, tag or commit"},
    "--dtype": {"help": "of the model's weights: float32 or bfloat16"},
    "--quantised": {"help": "nf4, int8 or int8-torchao"},
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, as for every other error."""
        self.exit(2, f"{self.prog}: error: {message} (see --help)\n")


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    main = _Parser(prog="python -m coto_lab", description="A laboratory for progressive LoRA training.")
    command = main.add_subparsers(dest="command", required=True, parser_class=_Parser).add_parser(
        "report", help="a page about finished adapters", description="Measure finished adapters, and write an HTML page."
    )
    command.add_argument("adapters", nargs="+", metavar="ADAPTER", help="folders that PEFT or this package wrote")
    command.add_argument("--data", required=True, help="digits, docstrings, strings/..., glue/..., or a data set of the hub")
    command.add_argument("--model", help="the base model: a name on the hub or a folder; by default what the adapter names")
    command.add_argument("--task", choices=list(KINDS), help="kind of the data set, unless --data names a task")
    command.add_argument("--out", type=Path, default=Path("report.html"), help="the page (%(default)s)")
    command.add_argument("--overwrite", action="store_true", help="replace an earlier page")
    command.add_argument("--examples", type=int, default=500, help="test examples at most (%(default)s)")
    command.add_argument("--minutes", type=float, default=1.0, help="time for the parts beyond the scores (%(default)s)")
    command.add_argument("--keep", type=float, metavar="SHARE", help="prune to the best share of the blocks, such as 0.5")
    command.add_argument("--save", type=Path, metavar="FOLDER", help="a new folder for the pruned adapter")
    data = command.add_argument_group("columns and settings of a data set of the hub")
    for option, told in _OPTIONS.items():
        data.add_argument(option, **told)  # type: ignore[arg-type]
    data.add_argument("--no-chat", dest="chat", action="store_const", const=False, help="do not use the chat template")
    return main


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns 0, or 2 after one line on standard error that says what is wrong."""
    given = parser().parse_args(arguments)
    names = [option.removeprefix("--").replace("-", "_") for option in _OPTIONS] + ["chat"]
    options = {name: getattr(given, name) for name in names if getattr(given, name) is not None}
    options |= {name: tuple(options[name]) for name in ("splits", "text", "labels") if name in options}
    try:
        check_page(given.out, given.overwrite)
        if given.save is not None:
            check_apart(given.out, given.save)
        for folder in given.adapters:
            if not Path(folder).is_dir():
                raise ValueError(
                    f"{folder!r} is no folder: give one that Run.save, Adapter.save or PEFT's save_pretrained wrote."
                )
        task = named_task(given.data, given.model, given.task, given.adapters, options)
        made = report(given.adapters, task, examples=given.examples, minutes=given.minutes, keep=given.keep, save=given.save)
        made.save(given.out, overwrite=given.overwrite)
    except (ImportError, OSError, TypeError, ValueError) as error:
        print(f"python -m coto_lab report: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    for measures in made.measures:
        print(*score_words(measures))
    if made.kept is not None:
        print(*kept_words(made.kept, made.measures[0]), sep="\n")
    print(f"The report is in {given.out}.")
    return 0
