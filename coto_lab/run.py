"""A run: the adapter that training made, how it was made, and what was recorded on the way."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from coto_lab._files import new_folder
from coto_lab.adapter import Adapter, read_json, read_tensors
from coto_lab.history import History
from coto_lab.recipe import Recipe

_FORMAT = 1
_RUN, _HISTORY = "run.json", "history.safetensors"


@dataclass(frozen=True, eq=False)
class Run:
    """What `fit` returns; on disk, an ordinary PEFT adapter folder with two more files in it.

    Attributes:
        adapter: the adapter after the last step.
        history: one row per step.
        recipe: how it was trained.
        task: the task's name.
        base: identity of the base model (`Task.base`); runs of different bases do not mix.
    """

    adapter: Adapter
    history: History
    recipe: Recipe
    task: str
    base: str

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write the folder ``path``, whole or not at all; ``PeftModel.from_pretrained(base, path)`` reads it too.

        Raises:
            FileExistsError: something is at ``path`` and ``overwrite`` is False.
            OSError: the disk is full or not writable; what was there is as before.
        """
        from safetensors.torch import save_file

        path = Path(path)
        about = {
            "format": _FORMAT,
            "task": self.task,
            "base": self.base,
            "recipe": self.recipe.to_json(),
            "versions": {name: version(name) for name in ("coto_lab", "torch", "transformers", "peft")},
        }
        with new_folder(path, overwrite=overwrite) as folder:
            self.adapter.save(folder)
            save_file(self.history.tensors(), folder / _HISTORY, metadata=self.history.metadata())
            (folder / _RUN).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
        return path

    @classmethod
    def load(cls, path: str | Path) -> Run:
        """Read what `save` wrote: JSON and safetensors only.

        Raises:
            ValueError: a file is missing, truncated, or of a format that this version does not know.
        """
        path = Path(path)
        about = read_json(path / _RUN)
        missing = {"format", "task", "base", "recipe"} - about.keys()
        if missing or about["format"] != _FORMAT:
            raise ValueError(
                f"path={str(path)!r} holds no run of format {_FORMAT}: found format {about.get('format')!r}, "
                f"missing fields {sorted(missing)}. Was it saved by another version of coto_lab?"
            )
        try:
            recipe = Recipe.from_json(about["recipe"])
        except ValueError as error:
            raise ValueError(f"{str(path / _RUN)!r} holds a broken recipe: {error}") from error
        tensors, metadata = read_tensors(path / _HISTORY)
        return cls(
            adapter=Adapter.load(path),
            history=History.from_tensors(tensors, metadata, path / _HISTORY),
            recipe=recipe,
            task=about["task"],
            base=about["base"],
        )
