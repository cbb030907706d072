"""Versions of packages, for records of how a result was made."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def version_of(package: str) -> str:
    """The installed version, or ``"unknown"`` for a package that is used without being installed, such as from a checkout."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
