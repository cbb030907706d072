"""What plain LoRA, trained once, makes of every task on strings."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from coto_lab.ground.files import data_path, read_json
from coto_lab.studies.legs import STRINGS
from coto_lab.tasks.strings import TASKS

if TYPE_CHECKING:
    import pandas as pd

TABLE = "string_tasks.json"
RECIPE = replace(STRINGS.methods["LoRA"], steps=600)  # half the length of the gallery's runs


def string_tasks() -> pd.DataFrame:
    """One row per task, as ``data/make_string_tasks.py`` measured it.

    Columns: ``sign`` before a prompt; ``about``, what the answer is; exact match on the test set in %, of the ``base`` alone
    and with ``LoRA``; ``seconds`` of training. With one seed per task it compares nothing.
    """
    import pandas as pd

    found = read_json(data_path("gallery", TABLE))["tasks"]
    rows = {
        name: {
            "sign": skill.sign,
            "about": skill.about,
            "base": found[name]["base"],
            "LoRA": found[name]["LoRA"],
            "seconds": found[name]["seconds"],
        }
        for name, skill in TASKS.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")
