"""What can go wrong when something is read from the hub or from a folder, in words that say what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch


@contextmanager
def reading(name: str, what: str, revision: str | None = None) -> Iterator[None]:
    """Translate the errors of transformers, datasets and huggingface_hub while something is read.

    Args:
        name: a name on the hub, or a folder.
        what: is read, for the message, such as ``"the tokenizer of model"``; the name follows it.
        revision: the branch, tag or commit that was asked for.

    Raises:
        ConnectionError: the hub cannot be reached, and the files were not downloaded before.
        PermissionError: the owner of a gated model or data set has not granted access.
        ImportError: a package is missing that it needs.
        ValueError: there is nothing of this name or revision; it needs code of its own; it has no safetensors file; it is
            damaged, or of a format that the installed libraries do not know.
    """
    from huggingface_hub import errors

    try:
        yield
    except (MemoryError, torch.OutOfMemoryError):
        raise  # nothing is wrong with what was read
    except Exception as error:  # the libraries raise OSError, ValueError, KeyError, RuntimeError ... for what they cannot read
        subject = f"{what} {name!r}"
        chain = _chain(error)
        text = " ".join(str(link) for link in chain)
        folder = Path(name).is_dir()

        def found(*kinds: type[BaseException]) -> bool:
            return any(isinstance(link, kinds) for link in chain)

        if "trust_remote_code" in text or "scripts are no longer supported" in text:
            raise ValueError(
                f"{subject} needs Python code that comes with it, and such code is never run here. Choose a model whose "
                "architecture is part of transformers, or a data set that is stored as parquet, csv or json."
            ) from error
        if found(errors.GatedRepoError):
            raise PermissionError(
                f"{subject} is gated: its owner wants to be asked. Accept the conditions on its page on the hub, and log in "
                "with `hf auth login`."
            ) from error
        if not folder and found(errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, ConnectionError):
            raise ConnectionError(
                f"{subject} is no folder here, and the hub cannot be reached to download it. Look at the network connection "
                "(and at HF_HUB_OFFLINE), or give a folder that holds it. An interrupted download goes on where it stopped."
            ) from error
        if found(errors.RevisionNotFoundError):
            raise ValueError(f"{subject} has no revision={revision!r}. Give a branch, a tag or a commit, or None.") from error
        if not folder and found(errors.RepositoryNotFoundError, errors.HFValidationError, FileNotFoundError):
            raise ValueError(
                f"{subject}: there is no folder of this name here and nothing of this name on the hub. Look for a misspelling; "
                "for a private one, log in with `hf auth login`."
            ) from error
        if found(ImportError):
            raise ImportError(
                f"{subject} needs a package that is not installed: {_in_short(chain)}. Older tokenizers need "
                "`pip install sentencepiece`."
            ) from error
        if "safetensors" in text and isinstance(error, OSError):
            raise ValueError(
                f"{subject} has no weights in the safetensors format, and no other is read, since it could run code. "
                "Load it with transformers where you trust it, and save it again with save_pretrained."
            ) from error
        if "any data files" in text:
            raise ValueError(f"{subject} holds no data files. Give a folder with parquet, csv or json files.") from error
        advice = "Restore its files" if folder else "Delete its files from the hub's cache, so that they are downloaded again"
        raise ValueError(
            f"{subject} cannot be read ({_in_short(chain)}). {advice}, or install the version of the library that wrote it."
        ) from error


def _chain(error: BaseException) -> list[BaseException]:
    """The error and those that it came from."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    return chain


def _in_short(chain: list[BaseException]) -> str:
    """The first line of an error and of what it came from, which often says more."""
    lines = (f"{type(link).__name__}: {str(link).strip().partition(chr(10))[0].rstrip('.')}" for link in chain[:2])
    return "; ".join(dict.fromkeys(lines))
