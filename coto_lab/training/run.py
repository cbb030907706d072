"""A run: the adapter that training made, how it was made, and what was recorded on the way."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from coto_lab.adapters.adapter import RUN, WEIGHTS, Adapter, is_of_run
from coto_lab.ground.files import new_folder, read_json, read_tensors, sha256
from coto_lab.ground.versions import version_of
from coto_lab.training.history import History
from coto_lab.training.recipe import Recipe

_FORMAT = 1
HISTORY = "history.safetensors"  # `RUN` is the last by name, so that new_folder moves it last
_FIELDS = {"format", "task", "base", "recipe"}  # of `RUN`, that every version writes


@dataclass(frozen=True, eq=False)
class Run:
    """What `fit` returns; on disk, an ordinary PEFT adapter folder with two more files in it.

    Attributes:
        adapter: the adapter after the last step.
        history: one row per step.
        recipe: how it was trained.
        task: the task's name.
        base: identity of the base model (`Task.base`); runs of different bases do not mix.
        diverged: whether the training ended early because its loss was no longer finite; the adapter is the one before that
            loss. (If gradients overflow before the loss does, that adapter holds no finite numbers either.)
    """

    adapter: Adapter
    history: History
    recipe: Recipe
    task: str
    base: str
    diverged: bool = False

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write the folder ``path``; ``PeftModel.from_pretrained(base, path)`` reads it too.

        A run is four files: ``adapter_config.json``, ``adapter_model.safetensors``, ``history.safetensors`` and ``run.json``.
        With ``overwrite=True`` they replace those of a run at ``path``; every other file and folder there stays.

        All four are complete before the first is moved to ``path``, and an error puts those of the earlier run back. A new
        folder appears in one step. In an existing folder, a process that is killed between two moves leaves no ``run.json``,
        so that `load` refuses a mixture of two runs; the files of the earlier run are then in a hidden folder inside ``path``.

        Args:
            path: a new folder, an empty one, or, with ``overwrite=True``, that of a run.
            overwrite: whether to replace a run at ``path``.

        Raises:
            FileExistsError: ``path`` is a file or a folder with other things than a run, or holds a run and ``overwrite`` is
                False; nothing was changed.
            OSError: the disk is full or not writable; nothing was changed.
            RuntimeError: an error between two moves could not be undone; it names the hidden folder.
        """
        from safetensors.torch import save_file

        path = Path(path)
        about = {
            "format": _FORMAT,
            "task": self.task,
            "base": self.base,
            "recipe": self.recipe.to_json(),
            "diverged": self.diverged,
            "versions": {name: version_of(name) for name in ("coto_lab", "torch", "transformers", "peft")},
        }
        if path.is_dir() and any(path.iterdir()) and not Run.is_saved_in(path):
            raise FileExistsError(
                f"path={str(path)!r} exists and does not hold a run, so nothing in it is replaced. Choose a new folder, for "
                f"instance {str(path / 'run')!r}."
            )
        with new_folder(path, overwrite=overwrite) as folder:
            self.adapter.write_files(folder)
            save_file(self.history.tensors(), folder / HISTORY, metadata=self.history.metadata())
            about["adapter"] = sha256(folder / WEIGHTS)
            (folder / RUN).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
        return path

    @classmethod
    def load(cls, path: str | Path) -> Run:
        """Read what `save` wrote: JSON and safetensors only.

        Raises:
            ValueError: a file is missing, truncated, or of a format that this version does not know; the adapter there is
                another one.
        """
        path = Path(path)
        about = read_json(path / RUN)
        missing = _FIELDS - about.keys()
        if missing or about["format"] != _FORMAT:
            raise ValueError(
                f"path={str(path)!r} holds no run of format {_FORMAT}: found format {about.get('format')!r}, "
                f"missing fields {sorted(missing)}. Was it saved by another version of coto_lab?"
            )
        try:
            recipe = Recipe.from_json(about["recipe"])
        except ValueError as error:
            raise ValueError(f"{str(path / RUN)!r} holds a broken recipe: {error}") from error
        tensors, metadata = read_tensors(path / HISTORY)
        adapter = Adapter.load(path)
        if not is_of_run(path):
            raise ValueError(
                f"path={str(path)!r} holds another adapter than the run there: one was saved over it since. Adapter.load reads "
                "it; what the folder says of recipe, history and base is not about it."
            )
        return cls(
            adapter=adapter,
            history=History.from_tensors(tensors, metadata, path / HISTORY),
            recipe=recipe,
            task=about["task"],
            base=about["base"],
            diverged=about.get("diverged", False),  # versions before it wrote no such field
        )

    @staticmethod
    def is_saved_in(folder: Path) -> bool:
        """Whether a folder holds what `save` writes."""
        try:
            return read_json(folder / RUN).keys() >= _FIELDS
        except ValueError:
            return False
