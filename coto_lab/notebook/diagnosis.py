"""The check of the environment in which a notebook runs."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path

from coto_lab.notebook.place import JUPYTER, SCRIPT, VS_CODE, find_place
from coto_lab.notebook.server import is_ours, server_python, versions_in


def doctor() -> list[str]:
    """Problems of this environment, each with its fix; empty if there are none.

    The function compares the installed packages with the package's requirements in this place, and names packages with which
    PEFT refuses to work. Widgets and static figures have a second half in the browser, which comes from the notebook server's
    environment. This may not be the kernel's environment, so doctor() asks the server's environment too, and checks that the
    two halves fit together.
    """
    place, server = find_place(), server_python()
    ours = server is not None and is_ours(server)
    in_jupyter = place in (JUPYTER, SCRIPT)  # a script counts too, as somebody may call doctor() before starting JupyterLab
    pip = _pip(sys.executable)

    unmet = unmet_requirements("lab" if ours and in_jupyter else "colab")
    complaints = [f'{found}. Fix: {pip} install "{wanted}", then restart the kernel' for wanted, found in unmet.items()]
    for name, reason in refused_by_peft().items():
        complaints.append(
            f"PEFT cannot add adapters while this {name} is installed. PEFT says: {reason} "
            f"Fix: {pip} uninstall --yes {name}, then restart the kernel"
        )
    ipywidgets, extension = installed("ipywidgets"), installed("widgetsnbextension")
    if ipywidgets and extension and _major(extension) != _major(ipywidgets) - 4:  # 8 goes with 4, 7 with 3
        complaints.append(
            f"ipywidgets {ipywidgets} does not go with widgetsnbextension {extension}. "
            f"Fix: {pip} install --force-reinstall ipywidgets, then restart the kernel"
        )
    # VS Code draws figures itself. But if it uses a server's kernel, the notebook may also be opened in the server's page.
    if server is None or not (in_jupyter or (place == VS_CODE and not ours)):
        return complaints  # there is no server to ask, or the page takes nothing from it
    needs = _needed_in_the_page()
    found_there = {name: installed(name) for name in needs} if ours else versions_in(server, list(needs))
    for name, found in found_there.items():
        wanted, consequence = needs[name]
        if found is None or not _fits(found, wanted):
            complaints.append(
                f"{name} is {found or 'missing'} in the notebook server's environment, and this kernel needs {name}{wanted}; "
                f'without it, {consequence} in its page. Fix: {_pip(server)} install "{name}{wanted}", then restart the server '
                "and reload the page"
            )
    return complaints


def _pip(python: str | Path | None) -> str:
    """The command of an environment's pip, as it is typed in a shell."""
    return f'"{python}" -m pip' if " " in str(python) else f"{python} -m pip"


def installed(name: str) -> str | None:
    """The version of an installed package, or None."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _major(number: str) -> int:
    return int(number.split(".")[0])


def _fits(number: str, wanted: str) -> bool:
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(wanted).contains(number, prereleases=True)


def unmet_requirements(extra: str) -> dict[str, str]:
    """Unmet requirements of the package and of one of its extras: requirement -> a sentence on what was found."""
    from packaging.requirements import Requirement

    try:
        lines = requires("coto_lab") or []
    except PackageNotFoundError:  # a checkout that is not installed has no list of requirements
        return {}
    unmet = {}
    for line in lines:
        requirement = Requirement(line)
        if requirement.marker and not any(requirement.marker.evaluate({"extra": name}) for name in ("", extra)):
            continue
        found = installed(requirement.name)
        if found is None or not _fits(found, str(requirement.specifier)):
            unmet[f"{requirement.name}{requirement.specifier}"] = f"{requirement.name} is {found or 'missing'}"
    return unmet


def refused_by_peft() -> dict[str, str]:
    """Installed packages with which PEFT refuses to add adapters: name -> PEFT's own message."""
    refused = {}
    for name in ("torchao", "gptqmodel"):
        if find_spec(name) and find_spec("peft"):
            from peft import import_utils

            try:
                getattr(import_utils, f"is_{name}_available")()
            except ImportError as error:
                refused[name] = str(error)
    return refused


def _needed_in_the_page() -> dict[str, tuple[str, str]]:
    """Packages that the server's environment needs to show this kernel's output: name -> (versions, what happens otherwise)."""
    needs = {}
    if ipywidgets := installed("ipywidgets"):
        half = {7: 1}.get(_major(ipywidgets), _major(ipywidgets) - 5)  # 8 goes with 3
        needs["jupyterlab_widgets"] = (f"=={half}.*", "widgets stay empty")
    if anywidget := installed("anywidget"):  # its widgets need the same major.minor version in the page
        needs["anywidget"] = (f"=={'.'.join(anywidget.split('.')[:2])}.*", "widgets stay empty")
    if plotly := installed("plotly"):  # plotly ships the JupyterLab extension that shows its figures
        least = ">=6.1," if _major(plotly) == 6 else ""  # plotly 6.0 came without the extension
        needs["plotly"] = (f"{least}=={_major(plotly)}.*", "static figures stay blank")
    return needs
