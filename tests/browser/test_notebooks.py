"""The notebooks that have no browser test of their own, from the first cell to the last; and that every notebook has one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page

HERE = Path(__file__).parent
NOTEBOOKS = sorted(path.name for path in (HERE.parents[1] / "notebooks").glob("*.ipynb"))
OTHERS = "\n".join(path.read_text(encoding="utf-8") for path in HERE.glob("test_*.py") if path != Path(__file__))


@pytest.mark.parametrize("notebook", [name for name in NOTEBOOKS if f'"{name}"' not in OTHERS])
def test_notebook_runs_from_top_to_bottom(
    page: Page, run_all: Callable[..., list], assert_healthy: Callable[[Page], None], notebook: str
) -> None:
    assert run_all(page, notebook) == []
    assert_healthy(page)
