"""The parts of a report: a heading, sentences, figures and tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import coto_lab.report.words as words
from coto_lab.report.fusing import Fusing
from coto_lab.report.keep import Kept
from coto_lab.report.made_words import fusing_words, kept_words
from coto_lab.report.measures import Measures
from coto_lab.report.smaller import file_size

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from coto_lab.report.drawings import Record


@dataclass(frozen=True, eq=False)
class Section:
    """One part of a report.

    Attributes:
        title: its heading.
        sentences: paragraphs above the figures.
        figures: pairs of a heading, which may be empty, and a figure.
        tables: pairs of a heading and a table, below the figures.
        help: what the figures show, for readers who do not know them.
        folded: whether the tables are hidden until a reader opens them.
    """

    title: str
    sentences: Sequence[str]
    figures: Sequence[tuple[str, go.Figure]] = ()
    tables: Sequence[tuple[str, pd.DataFrame]] = ()
    help: str = ""
    folded: bool = True


def all_sections(measures: Sequence[Measures], fusing: Fusing | None, kept: Kept | None) -> list[Section]:
    """The parts of a report on these measurements, in their order."""
    from coto_lab.figures import (
        interpolation_figure,
        plan_figure,
        pruning_figure,
        shapley_figure,
        sparsity_figure,
        stability_figure,
    )
    from coto_lab.report.drawings import choose_looks, drawn, norm_figure, spectrum_figure

    by_name = {m.subject.name: m for m in measures}
    looks = choose_looks({name: "CoTo" if m.own_masks else "LoRA" for name, m in by_name.items()})
    sections = [_adapters(measures), _scores(measures)]
    if kept is not None:
        sections.append(_kept(kept, measures[0]))
    blocks = {name: m.blocks["accuracy"] for name, m in by_name.items()}
    sections.append(
        Section(
            "Which blocks matter",
            _said(words.game_words, measures),
            _together(blocks, shapley_figure, looks),
            [(f"Blocks of {name}", _game_table(m)) for name, m in by_name.items()],
            "A block's Shapley value is what its adapters add to the share of right answers, averaged over all orders in which "
            "the blocks can be opened one after another. The values of all blocks sum to the difference between the adapter "
            "and the base model.",
        )
    )
    kinds = {name: m.kinds["accuracy"] for name, m in by_name.items() if m.kinds is not None}
    sections.append(
        Section("Which kinds of module matter", _said(words.kind_words, measures), _together(kinds, shapley_figure, looks))
    )
    patterns = {name: m.patterns for name, m in by_name.items()}
    sections.append(
        Section(
            "What is left when only some adapters are kept",
            _said(words.pattern_words, measures),
            _together(patterns, pruning_figure, looks, same=lambda table: table.patterns),
            [(f"Patterns of {name}", table.frame()) for name, table in patterns.items()],
        )
    )
    stable = {name: m.stability for name, m in by_name.items() if m.stability.masks.shape[1] > 1}
    sections.append(
        Section(
            "What is left when blocks are dropped",
            _said(words.stability_words, measures),
            _together(stable, stability_figure, looks),
            [(f"Open blocks of {name}", record.frame()) for name, record in stable.items()],
            "The line is the mean over choices of the open blocks; the band goes from the worst choice to the best.",
        )
    )
    sparse = {name: m.sparsity for name, m in by_name.items() if m.sparsity is not None}
    sections.append(
        Section(
            "What is left when small entries are set to 0",
            _said(words.sparsity_words, measures),
            _together(sparse, sparsity_figure, looks),
            [(f"Sparsities of {name}", curve.frame()) for name, curve in sparse.items()],
        )
    )
    spectra = {name: m.spectra for name, m in by_name.items() if m.spectra is not None}
    lengths = [(f"{name}: length of the updates", norm_figure(found)) for name, found in spectra.items()]
    lengths += [
        (f"{name}: singular values", spectrum_figure(found))
        for name, found in spectra.items()
        if all(len(values) for values in found.singular)
    ]
    sections.append(
        Section(
            "How large the updates are",
            _said(words.spectra_words, measures),
            lengths,
            help="ΔW is what an adapter adds to a frozen weight W, ‖·‖ is the Frobenius norm. An update whose first singular "
            "value is far above the others acts in one direction.",
        )
    )
    if fusing is not None:
        sections.append(
            Section(
                "How they fuse",
                fusing_words(measures, fusing),
                [("", drawn(interpolation_figure, fusing.curves, choose_looks(dict.fromkeys(fusing.curves, "LoRA"))))]
                if fusing.curves
                else [],
                [(f"From {name}", curve.frame()) for name, curve in fusing.curves.items()]
                + ([] if fusing.geometry is None else [("Angles and distances", fusing.geometry.frame())]),
            )
        )
    ramps = {name: m for name, m in by_name.items() if m.masks.shape[1] > 1}
    sections.append(
        Section(
            "What CoTo's masks save in training",
            _said(words.mask_words, measures),
            [(name, plan_figure(m.schedule, m.masks, towers=m.towers)) for name, m in ramps.items()][:1],
            help="These are shares of work, counted from the masks. How much time they save depends on the machine; "
            "coto_lab.probes.cost.measure_cost measures it.",
        )
    )
    return sections


def _said(say: Callable[[Measures], list[str]], measures: Iterable[Measures]) -> list[str]:
    return [" ".join(found) for m in measures if (found := say(m))]


def _together(
    records: Mapping[str, Record],
    draw: Callable[[dict[str, Record]], go.Figure],
    looks: Mapping[str, str],
    same: Callable[[Record], object] = lambda record: None,
) -> list[tuple[str, go.Figure]]:
    """One figure of all records, or one of each where they cannot be drawn together."""
    from coto_lab.report.drawings import drawn

    if not records:
        return []
    if len({same(record) for record in records.values()}) == 1:
        try:
            return [("", drawn(draw, records, looks))]
        except ValueError:  # of adapters on other blocks
            pass
    return [(name, drawn(draw, {name: record}, looks)) for name, record in records.items()]


def _adapters(measures: Sequence[Measures]) -> Section:
    import pandas as pd

    rows = []
    for m in measures:
        rows.append(
            {
                "adapter": m.subject.name,
                "method": m.subject.method,
                "rank": m.subject.rank,
                "alpha": m.subject.alpha,
                "modules": len(m.sites),
                "blocks": len(m.sites.block_names),
                "parameters": f"{m.subject.parameters:,}",
                "kB": f"{file_size(m.subject.adapter) / 1000:,.0f}",
            }
        )
    notes = [f"{m.subject.name}: {m.subject.note}" for m in measures if m.subject.note]
    return Section("The adapters" if len(rows) > 1 else "The adapter", notes, tables=[("", pd.DataFrame(rows))], folded=False)


def _scores(measures: Sequence[Measures]) -> Section:
    import pandas as pd

    rows = []
    for m in measures:
        names = [
            f"base model with {m.subject.name}'s trained layers" if m.subject.whole_layers else "base model",
            m.subject.name,
        ]
        others = m.metrics if m.metrics is not None else m.scores.frame().drop(columns=["name", "accuracy", "loss"])
        for i, name in enumerate(names):
            values = f"{100 * m.scores.accuracy[i].item():.1f}", f"{m.scores.loss[i].item():.4g}"
            scores = dict(zip(m.headings, values, strict=True))
            extra = {str(key): f"{value:.4g}" for key, value in others.iloc[i].items()}
            rows.append({"": name} | scores | extra)
    rows = [row for i, row in enumerate(rows) if row not in rows[:i]]  # the base model once
    return Section("Score", _said(words.score_words, measures), tables=[("", pd.DataFrame(rows))], folded=False)


def _game_table(m: Measures) -> pd.DataFrame:
    import pandas as pd

    columns: dict[str, object] = {"block": m.sites.block_names}
    for value, factor, unit in (("accuracy", 100, "accuracy, points"), ("loss", 1, f"loss reduction,{m.unit}".rstrip(","))):
        found = m.blocks[value]
        columns[unit] = (factor * found.values).numpy()
        if found.standard_error is not None:
            columns[f"± ({unit.split(',')[0]})"] = (factor * found.standard_error).numpy()
    if m.spectra is not None:
        columns["‖ΔW‖"] = list(m.spectra.block_norm.values())
    return pd.DataFrame(columns)


def _kept(kept: Kept, measures: Measures) -> Section:
    import pandas as pd

    ms, (right, loss) = kept.milliseconds.tolist(), measures.headings
    rows = []
    for i, (name, size) in enumerate(zip(("base model", kept.name, "pruned"), (0, *kept.bytes), strict=True)):
        rows.append(
            {
                "": name,
                right: f"{100 * kept.scores.accuracy[i].item():.1f}",
                loss: f"{kept.scores.loss[i].item():.4g}",
                "bytes": f"{size:,}" if size else "",
                f"ms per {kept.batch_size}": f"{ms[i]:.2f}",
            }
        )
    return Section("The pruned adapter", kept_words(kept, measures), tables=[("", pd.DataFrame(rows))], folded=False)
