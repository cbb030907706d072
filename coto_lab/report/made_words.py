"""What a report says of the adapters that it made itself: mixtures, and the pruned one."""

from __future__ import annotations

from collections.abc import Sequence

from coto_lab.figures.shapley import short_names
from coto_lab.report.fusing import Fusing
from coto_lab.report.keep import Kept
from coto_lab.report.measures import Measures
from coto_lab.report.words import CLEAR, listed, of_examples, percent, points, standard_error


def fusing_words(measures: Sequence[Measures], found: Fusing) -> list[str]:
    """How the adapters fuse."""
    scores = {} if found.merged is None else dict(zip(found.merged.names, found.merged.accuracy.tolist(), strict=True))
    all_of = "both" if len(measures) == 2 else f"all {len(measures)}"
    does, unit = measures[0].does, measures[0].unit
    parts = {
        "fuse": f"One adapter whose factors are the averages of those of {all_of} (fusion)",
        "ensemble": f"One adapter whose update is the average of those of {all_of} (ensemble)",
    }
    words = [f"These adapters cannot be fused: {found.refused}"] if found.refused else []
    words += [
        f"{parts[how]} {does} {percent(score)} correctly ({of_examples(found.examples)})." for how, score in scores.items()
    ]
    pairs = len(measures) * (len(measures) - 1) // 2
    if 0 < len(found.curves) < pairs:
        words.append(f"Of the {pairs} pairs, {len(found.curves)} are shown.")
    for pair, curve in found.curves.items():
        a, b = curve.accuracy[0].item(), curve.accuracy[-1].item()
        rise = f"rises by up to {curve.barrier:.3f}{unit}" if curve.barrier > 0 else "does not rise"
        fall = f"falls by up to {points(curve.accuracy_barrier)} points" if curve.accuracy_barrier > 0 else "does not fall"
        words.append(
            f"From {pair}: the ends are right on {percent(a)} and {percent(b)}; between them the loss {rise} above the "
            f"straight line from end to end (the barrier), and the accuracy {fall} below it."
        )
    return words + _geometry_words(found)


def _geometry_words(found: Fusing) -> list[str]:
    if found.geometry is None:
        return []
    frame = found.geometry.frame()
    of, cosines = "updates" if found.geometry.space == "update" else "factors", frame["cosine"]
    if len(frame) == 1:
        return [f"The cosine similarity of their {of} is {cosines[0]:.3f}."]
    return [
        f"The cosine similarities of their {of} are from {cosines.min():.3f} to {cosines.max():.3f}; a table has each pair."
    ]


def kept_words(kept: Kept, m: Measures) -> list[str]:
    """Which blocks are kept, and what that costs."""
    names = short_names(kept.blocks)
    chosen = [name for name, is_kept in zip(names, kept.mask.tolist(), strict=True) if is_kept]
    n, does = len(names), m.does
    right = kept.scores.values["correct"]
    change, error = (right[2] - right[1]).mean().item(), standard_error(right[2] - right[1])
    searched, scored = kept.search_scores.accuracy.tolist(), kept.scores.accuracy.tolist()
    how = (
        f"This choice has the lowest loss of all {kept.compared}"
        if kept.every
        else f"They were found by leaving out one block after another ({kept.compared} choices were compared)"
    )
    verdict = "" if abs(change) > CLEAR * error else ", so whether pruning changes the share of right answers is inconclusive"
    if len(chosen) == n:
        words = [f"All {n} blocks are kept, so nothing is pruned."]
    else:
        words = [
            f"Kept: {len(chosen)} of {n} blocks, {listed(chosen)}. {how} on {kept.searched} test examples. There the pruned "
            f"adapter {does} {percent(searched[1])} correctly, and the whole one {percent(searched[0])}.",
            f"On {right.shape[1]} other examples, which had no part in the choice, the pruned adapter {does} "
            f"{percent(scored[2])} correctly, the whole one {percent(scored[1])} and the base model {percent(scored[0])}. The "
            f"difference between pruned and whole is {points(change)} points with a standard error of {points(error)}"
            f"{verdict}.",
        ]
    words.append(
        f"The file has {kept.bytes[1]:,} bytes instead of {kept.bytes[0]:,} ({percent(kept.bytes[1] / kept.bytes[0], 0)}). A "
        f"forward pass of {kept.batch_size} examples took {kept.milliseconds[2].item():.2f} ms instead of "
        f"{kept.milliseconds[1].item():.2f} ms (median; the base model took {kept.milliseconds[0].item():.2f} ms)."
    )
    if kept.folder is not None:
        words.append(f"It is saved in {kept.folder}, a folder that PEFT loads.")
    return words
