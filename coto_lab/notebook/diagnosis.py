"""What does not fit together where a notebook runs."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path

from coto_lab.notebook.place import JUPYTER, SCRIPT, VS_CODE, find_place
from coto_lab.notebook.server import is_ours, server_python, versions_in


def doctor() -> list[str]:
    """What does not fit together here, each with its fix; empty where all is well.

    It compares what is installed with what the package asks for in this place, and names what PEFT refuses to work beside.
    Widgets and static figures have a second half in the browser, which comes from the notebook server's environment: that may
    be another one than the kernel's, so doctor() asks it, and compares as far as the two halves have to agree.
    """
    place, server = find_place(), server_python()
    ours = server is not None and is_ours(server)
    in_jupyter = place in (JUPYTER, SCRIPT)  # a script may be what somebody runs before starting JupyterLab
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
    # VS Code draws figures itself; but the notebook of a server whose kernel it uses may be opened in the server's page, too.
    if server is None or not (in_jupyter or (place == VS_CODE and not ours)):
        return complaints  # the page takes nothing from a server that could be asked
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
    """The command of an environment's pip, as one types it in a shell."""
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
    """Requirements of the package and one of its extras that are not met: requirement -> what was found."""
    from packaging.requirements import Requirement

    unmet = {}
    for line in requires("coto_lab") or []:
        requirement = Requirement(line)
        if requirement.marker and not any(requirement.marker.evaluate({"extra": name}) for name in ("", extra)):
            continue
        found = installed(requirement.name)
        if found is None or not _fits(found, str(requirement.specifier)):
            unmet[f"{requirement.name}{requirement.specifier}"] = f"{requirement.name} is {found or 'missing'}"
    return unmet


def refused_by_peft() -> dict[str, str]:
    """Installed packages beside which PEFT makes no adapter: name -> PEFT's own words."""
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
    """What the server's environment must hold to show what this kernel sends: name -> (versions, what happens otherwise)."""
    needs = {}
    if ipywidgets := installed("ipywidgets"):
        half = {7: 1}.get(_major(ipywidgets), _major(ipywidgets) - 5)  # 8 goes with 3
        needs["jupyterlab_widgets"] = (f"=={half}.*", "widgets stay empty")
    if anywidget := installed("anywidget"):  # its widgets ask the page for ~major.minor
        needs["anywidget"] = (f"=={'.'.join(anywidget.split('.')[:2])}.*", "widgets stay empty")
    if plotly := installed("plotly"):  # it ships JupyterLab's extension for its figures
        least = ">=6.1," if _major(plotly) == 6 else ""  # 6.0 came without it
        needs["plotly"] = (f"{least}=={_major(plotly)}.*", "static figures stay blank")
    return needs
