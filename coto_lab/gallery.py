"""The gallery: finished runs that ship with the lab, so that a notebook need not train everything it compares."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from coto_lab._files import data_path
from coto_lab.run import Run

if TYPE_CHECKING:
    import pandas as pd


def load_run(name: str) -> Run:
    """A finished run of the gallery, e.g. ``"coto-seed1"``; made by ``data/make_gallery.py``.

    Raises:
        ValueError: no such run; the message lists those that exist.
    """
    names = sorted(path.parent.name for path in data_path("gallery").glob("*/run.json"))
    if name not in names:
        raise ValueError(f"name={name!r}: no such run in the gallery; there is {', '.join(names)}.")
    return Run.load(data_path("gallery", name))


def gallery_scores() -> pd.DataFrame:
    """What the runs of the gallery score: mean ± sample standard deviation over the seeds, of the test accuracy in %.

    The last row is another quantity: the lowest block's share of the gradient norm, in the last quarter of training, in %.
    One column per method, and n: the number of seeds, or of pairs of seeds where two are merged.
    """
    import pandas as pd

    rows = json.loads(data_path("gallery", "scores.json").read_text(encoding="utf-8"))
    table: dict[str, dict[str, str | int]] = {}
    for row in rows:
        line = table.setdefault(row["score"], {})
        line[row["method"]] = f"{row['mean']:.1f} ± {row['std']:.1f}"
        line["n"] = row["count"]
    frame = pd.DataFrame.from_dict(table, orient="index")
    return frame[[*frame.columns.drop("n"), "n"]]
