"""What can go wrong when something is read from the hub or from a folder, in words that say what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
        ValueError: there is nothing of this name or revision; it needs code of its own; it has no safetensors file; it is
            damaged, or of a format that the installed libraries do not know.
    """
    from huggingface_hub import errors

    try:
        yield
    except Exception as error:  # the libraries raise OSError, ValueError, KeyError, RuntimeError ... for what they cannot read
        subject = f"{what} {name!r}"
        chain = _chain(error)
        text = " ".join(str(link) for link in chain)
        folder = Path(name).is_dir()
        missing = (errors.RepositoryNotFoundError, errors.HFValidationError)
        unreachable = (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, ConnectionError)
        if "trust_remote_code" in text:
            raise ValueError(
                f"{subject} needs Python code that comes with it, and such code is never run here. Choose one whose "
                "architecture is part of transformers."
            ) from error
        if any(isinstance(link, errors.GatedRepoError) for link in chain):
            raise PermissionError(
                f"{subject} is gated: its owner wants to be asked. Accept the conditions on its page on the hub, and log in "
                "with `hf auth login`."
            ) from error
        if any(isinstance(link, missing) for link in chain):
            raise ValueError(
                f"{subject}: there is no folder of this name here and nothing of this name on the hub. Look for a misspelling; "
                "for a private one, log in with `hf auth login`."
            ) from error
        if any(isinstance(link, errors.RevisionNotFoundError) for link in chain):
            raise ValueError(f"{subject} has no revision={revision!r}. Give a branch, a tag or a commit, or None.") from error
        if not folder and any(isinstance(link, unreachable) for link in chain):
            raise ConnectionError(
                f"{subject} is no folder here, and the hub cannot be reached to download it. Look at the network connection "
                "(and at HF_HUB_OFFLINE), or give a folder that holds it. An interrupted download goes on where it stopped."
            ) from error
        if "safetensors" in text and isinstance(error, OSError):
            raise ValueError(
                f"{subject} has no weights in the safetensors format, and no other is read, since it could run code. "
                "Load it with transformers where you trust it, and save it again with save_pretrained."
            ) from error
        again = "Restore its files, or make them again with save_pretrained" if folder else "Delete its files from the cache"
        raise ValueError(
            f"{subject} cannot be read ({type(error).__name__}: {_first_line(error)}). {again}; or it needs another version of "
            "transformers."
        ) from error


def _chain(error: BaseException) -> list[BaseException]:
    """The error and those that it came from."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    return chain


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")
