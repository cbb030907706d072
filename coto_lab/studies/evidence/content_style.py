"""Topic 16: a content and a style adapter of a diffusion model of glyphs, merged."""

from __future__ import annotations

from dataclasses import asdict

from coto_lab.studies.evidence.markdown import interval, spread, table
from coto_lab.studies.evidence.records import Numbers, compare, summary
from coto_lab.studies.glyph_diffusion import EACH, RECIPE, SEEDS, SWEEP_SEED, WAYS

MEASURES = ("content", "style", "both")


def judge(own: Numbers) -> Numbers:
    """Means, deviations and differences of what was sampled.

    Args:
        own: `coto_lab.studies.glyph_diffusion.table`.
    """
    rows: Numbers = {}
    for model, ways in own["scores"]["new"].items():
        if model == "base":
            continue
        rows[model] = {}
        for measure in MEASURES:
            columns = {way: summary(ways[way][measure]) for way in WAYS}
            difference = compare(columns["CoTo"], columns["LoRA"])
            rows[model][measure] = {**columns, "difference": asdict(difference), "verdict": difference.verdict("above")}
    losses = {part: {way: summary(own["loss"][part][way]) for way in WAYS} for part in own["loss"]}
    return {"rows": rows, "base": own["scores"]["new"]["base"], "lr": own["lr"], "loss": losses}


def text(numbers: Numbers) -> str:
    """The section, in Markdown."""
    rows = [["the base", *(f"{numbers['base'][measure]:.1f}" for measure in MEASURES), "", ""]]
    rows += [
        [
            model,
            *(" / ".join(spread(own[measure][way]) for way in WAYS) for measure in MEASURES),
            interval(own["both"]["difference"]),
            own["both"]["verdict"],
        ]
        for model, own in numbers["rows"].items()
    ]
    names = [*(f"{measure}, LoRA / CoTo" for measure in MEASURES), "both, CoTo - LoRA", "CoTo is better"]
    rates = ", ".join(f"{way} {numbers['lr'][way]:g}" for way in WAYS)
    losses = "; ".join(
        f"{part}: LoRA {spread(own['LoRA'], 3)}, CoTo {spread(own['CoTo'], 3)}" for part, own in numbers["loss"].items()
    )
    return f"""## 16. Content and style

The smallest stand-in for the paper's images: a diffusion model of printed characters, 16 x 16, that was trained for this lab. A
content adapter draws six characters that the model has never seen, and a style adapter draws the others hatched. Merged, they
are to draw the six characters hatched, which no training image shows. The table has shares of samples in %, mean ± sd over
{len(SEEDS)} seeds: *content* if the digits' base model classifies the character correctly, *style* if a face classifier calls
it hatched, and *both*. Each model draws {EACH} samples of each new character. An adapter is trained for {RECIPE.steps} steps
with r = {RECIPE.r}, at the best rate of a sweep on seed {SWEEP_SEED} ({rates}). `python data/make_glyph_diffusion_runs.py`
makes all of it.

{table(["", *names], rows)}

"Zip" learns its coefficients from training examples, with a penalty that was changed once after a look at samples of one seed.
CoTo's adapters have learned less in so few steps (mean squared error on the test set, {losses}), so that a worse merge is in
part a weaker adapter. The paper reports a small gain with ZipLoRA (FID 35.69 to 34.83, table r2); longer trainings were not
tried here.
"""
