"""Every view shows what its sentence says after a reload, in a reopened tab, and in a second view of the same widget."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Locator, Page, expect

CELLS = {
    "": """
from coto_lab import Linear, Recipe, load_task
from coto_lab.studies.gallery import load_run
from coto_lab.widgets import InterpolationExplorer, LiveTraining, ScheduleExplorer, SimplexExplorer, Switchboard
task = load_task("digits")
first, second, third = ({name: load_run(f"{name.lower()}-seed{seed}") for name in ("LoRA", "CoTo")} for seed in range(3))
""",
    "coto-schedule": "ScheduleExplorer()",
    "coto-switchboard": "Switchboard(task, first, images=20)",
    "coto-interpolation": "InterpolationExplorer(task, second, first, images=10)",
    "coto-simplex": "SimplexExplorer(task, {name: [second[name], third[name]] for name in first}, first, images=10)",
    "coto-live": "LiveTraining(task, {'LoRA': Recipe(steps=20_000), 'CoTo': Recipe(steps=20_000, schedule=Linear())})",
}
VIEWS = [name for name in CELLS if name]

# What the figures of one kind of view show, each as JSON; null where one is not drawn yet. Ranges that plotly chooses are left
# out: they depend on the figure's width.
SHOWN = """kind => Array.from(document.querySelectorAll(`.${kind}`), view => {
    const figure = view.querySelector('.js-plotly-plot');
    if (!figure?._fullData) return null;
    const listed = value => ArrayBuffer.isView(value) || Array.isArray(value) ? Array.from(value, listed) : value ?? null;
    const {annotations, shapes, images, ...layout} = figure._fullLayout;
    return JSON.stringify({
        traces: figure._fullData.map(({name, type, visible, x, y, z, text, customdata, colorscale, line, marker}) =>
            [name, type, visible, x, y, z, text, customdata, colorscale, line?.color, line?.dash, marker?.color].map(listed)),
        annotations: annotations?.map(({text, x, y}) => [text, listed(x), listed(y)]),
        shapes: shapes?.map(({x0, x1, y0, y1}) => [x0, x1, y0, y1]),
        images: images?.length,
        axes: Object.keys(layout).filter(key => /^[xy]axis[0-9]*$/.test(key)).map(key =>
            [key, layout[key].type, layout[key].autorange || listed(layout[key].range)]),
    });
})"""

# Steps that the live figure shows, by its first curve, which has 400 points at most.
STEPS = "() => 1 + Math.max(-1, ...document.querySelector('.coto-live .js-plotly-plot')?._fullData?.[0].x ?? [])"

KERNEL = "window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel"


def view(page: Page, kind: str) -> Locator:
    return page.locator(f".{kind}").first


def sentence(page: Page, kind: str = "coto-live") -> Locator:
    return view(page, kind).locator("[aria-live]").last


def shown(page: Page) -> dict[str, Any]:
    """Kind of view -> what its first figure shows."""
    figures = {kind: page.evaluate(SHOWN, kind)[0] for kind in VIEWS}
    return {kind: json.loads(figure) for kind, figure in figures.items()}


def wait_until_drawn(page: Page, kind: str, views: int = 1) -> None:
    """Until the page has so many views of a kind, and each has a figure."""
    ready = f"([kind, n]) => {{ const all = ({SHOWN})(kind); return all.length === n && all.every(figure => figure); }}"
    page.wait_for_function(ready, arg=[kind, views])


def assert_shown(page: Page, expected: dict[str, Any], views: int = 1) -> None:
    """The page has so many views of each kind, and all their figures show this."""
    for kind, figure in expected.items():
        wait_until_drawn(page, kind, views)
        for found in page.evaluate(SHOWN, kind):
            assert json.loads(found) == figure, kind


def use_every_view(page: Page) -> None:
    """Change what each figure shows, and leave the live view in the middle of a training."""
    view(page, "coto-schedule").get_by_role("button", name="stochastic depth").click()
    expect(sentence(page, "coto-schedule")).to_contain_text("p is 0.5 in all 800 steps")
    view(page, "coto-switchboard").get_by_role("button", name="none").click()
    expect(sentence(page, "coto-switchboard")).to_contain_text("LoRA with 0 of 24 adapters open")
    for kind, place in (("coto-interpolation", "At α = 0.45"), ("coto-simplex", "At 1 : 2 : 3 sixths")):
        view(page, kind).locator(".noUi-handle").first.focus()
        page.keyboard.press("ArrowLeft")
        expect(sentence(page, kind)).to_contain_text(place)
    start(page)


def start(page: Page) -> None:
    view(page, "coto-live").get_by_role("button", name="Start").click()
    expect(sentence(page)).to_contain_text("Training: step")
    page.wait_for_function(f"({STEPS})() > 0")


def stop(page: Page) -> None:
    """Press Stop, and wait until the figure shows the last step and the last accuracy, which is drawn after a while."""
    view(page, "coto-live").get_by_role("button", name="Stop").click()
    expect(sentence(page)).to_contain_text("Stopped: step")
    page.wait_for_function(
        f"""() => {{
            const last = Number(/Stopped: step ([0-9]+) of/.exec(document.querySelector('.coto-live').innerText)?.[1]);
            const traces = document.querySelector('.coto-live .js-plotly-plot')._fullData;
            return ({STEPS})() === last && traces.filter(({{meta}}) => meta === 'accuracy').every(({{x}}) => x.at(-1) === last);
        }}""",
    )


def reopen(page: Page, notebook: str) -> None:
    """Close the notebook's tab, whose kernel goes on, and open it again."""
    page.evaluate("() => { window.jupyterapp.shell.currentWidget.dispose(); }")
    page.evaluate("path => window.jupyterapp.commands.execute('docmanager:open', {path}).then(() => null)", notebook)
    page.wait_for_function(KERNEL)


def test_what_the_figures_show_survives_reopening_reloading_and_a_second_view(
    page: Page,
    run_all: Callable[..., list[dict[str, Any]]],
    open_until_found: Callable[..., None],
    write_notebook: Callable[..., str],
    lab: str,
) -> None:
    notebook = write_notebook(CELLS.values())
    assert run_all(page, notebook) == []
    for kind in VIEWS:
        wait_until_drawn(page, kind)
    at_first = shown(page)
    use_every_view(page)
    before = shown(page)
    assert all(before[kind] != at_first[kind] for kind in VIEWS)
    page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save').then(() => null)")

    live = before.pop("coto-live")
    open_until_found(page, lambda: reopen(page, notebook), len(VIEWS))
    assert_shown(page, before)
    steps = 1 + max(live["traces"][0][3])
    page.wait_for_function(f"({STEPS})() > {steps} + 3")  # goes on in the new page
    stop(page)
    start(page)
    stop(page)

    before = shown(page)
    open_until_found(page, lambda: page.goto(f"{lab}/lab/tree/{notebook}"), len(VIEWS))
    assert_shown(page, before)
    expect(sentence(page)).to_contain_text("Stopped: step")

    for cell, kind in enumerate(CELLS):
        if kind:
            page.evaluate(
                """async cell => {
                    const {shell, commands} = window.jupyterapp, notebook = shell.currentWidget;
                    notebook.content.activeCellIndex = cell;
                    await commands.execute('notebook:create-output-view');
                    shell.activateById(notebook.id);
                }""",
                cell,
            )
    assert_shown(page, before, views=2)
    none_open = page.evaluate(SHOWN, "coto-switchboard")[0]
    view(page, "coto-switchboard").get_by_role("button", name="high third").focus()  # the other views may cover it
    page.keyboard.press("Space")
    expect(sentence(page, "coto-switchboard")).to_contain_text("LoRA with 9 of 24 adapters open")
    both = f"({SHOWN})('coto-switchboard')"
    page.wait_for_function(f"old => {both}.every(figure => figure !== old)", arg=none_open)
    assert_shown(page, {"coto-switchboard": shown(page)["coto-switchboard"]}, views=2)
    assert page.left_home == []  # type: ignore[attr-defined]
