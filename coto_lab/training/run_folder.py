"""A folder that keeps the finished runs of a sweep, each under a name that says which run it is."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path

from coto_lab.adapters.adapter import RUN
from coto_lab.ground.caller import warn_user
from coto_lab.ground.files import check_place, read_json
from coto_lab.ground.versions import version_of
from coto_lab.tasks.task import Task
from coto_lab.training.recipe import Recipe
from coto_lab.training.run import Run

_NAME = re.compile(r"seed\d+-[0-9a-f]{16}")


class RunFolder:
    """The runs of one task in a folder, which other tasks may share, as may processes on other machines that see it.

    A run has a folder of its own, ``seed3-0f3c5a9b7d214e68``: the number is a hash of its recipe, task and base model. It
    appears there whole or not at all, as `Run.save` writes it.

    Args:
        path: a folder, which is made if it does not exist.
        task: what the runs are of.

    Raises:
        FileExistsError: ``path`` is a file, or holds something else than runs.
        OSError: ``path`` cannot be written to.
    """

    def __init__(self, path: str | Path, task: Task):
        self.path, self.task, self.base = Path(path).absolute(), task.name, task.base
        self._told: list[list[tuple[str, str, str]]] = []  # versions of which was warned
        if self.path.is_dir():
            names = sorted(entry.name for entry in self.path.iterdir())
            # Hidden folders are of runs that are being saved, or were when their worker died.
            if odd := [name for name in names if not name.startswith(".") and not _NAME.fullmatch(name)]:
                raise FileExistsError(
                    f"folder={str(path)!r} holds {odd[0]!r}, which is no run of a sweep. Choose a new folder, for instance "
                    f"{str(self.path / 'sweep')!r}."
                )
        elif self.path.exists():
            raise FileExistsError(f"folder={str(path)!r} is a file. Choose a new folder.")
        check_place(self.path / RUN)

    def place_of(self, recipe: Recipe) -> Path:
        """The folder of the run by ``recipe``."""
        identity = json.dumps([self.task, self.base, recipe.to_json()], sort_keys=True)
        return self.path / f"seed{recipe.seed}-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"

    def has(self, recipe: Recipe) -> bool:
        """Whether the run by ``recipe`` is there."""
        return self.place_of(recipe).exists()

    def missing(self, recipes: Sequence[Recipe]) -> list[Recipe]:
        """Those recipes whose run is not there, each once."""
        once = {self.place_of(recipe): recipe for recipe in recipes}.values()
        return [recipe for recipe in once if not self.has(recipe)]

    def save(self, run: Run) -> None:
        """Keep a run; one that is there already, since another worker was faster, is kept instead.

        Raises:
            OSError: the disk is full or not writable.
        """
        place = self.place_of(run.recipe)
        try:
            run.save(place)
        except OSError:
            if not Run.is_saved_in(place):
                raise

    def load(self, recipe: Recipe) -> Run:
        """The run by ``recipe``.

        Raises:
            ValueError: a file of it is missing, damaged, or of another run.

        Warns:
            UserWarning: it was trained with other versions of the packages.
        """
        place = self.place_of(recipe)
        try:
            run = Run.load(place)
        except ValueError as error:
            raise ValueError(f"{error} Delete the folder {str(place)!r}, and its run is trained again.") from error
        self._compare_versions(place)
        if (run.recipe, run.task, run.base) != (recipe, self.task, self.base):
            raise ValueError(
                f"{str(place)!r} holds the run of another recipe, task or base model than its name says: delete it, and it is "
                "trained again."
            )
        return run

    def _compare_versions(self, place: Path) -> None:
        """Warn, once for the same versions, of a run that others trained."""
        written = read_json(place / RUN).get("versions", {})
        pairs = [(name, version, version_of(name)) for name, version in written.items()]
        differ = [pair for pair in pairs if pair[1].split("+")[0] != pair[2].split("+")[0]]
        if not differ or differ in self._told:
            return
        self._told.append(differ)
        theirs, ours = (", ".join(f"{pair[0]} {pair[which]}" for pair in differ) for which in (1, 2))
        warn_user(
            f"{str(place)!r} was trained with {theirs}, and this process has {ours}. Runs of different versions can differ: "
            "delete those that were trained before, and they are trained again."
        )
