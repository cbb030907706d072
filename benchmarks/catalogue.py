"""Every figure: its key in the JSON, what it says, its aim where the project has one, and how it was measured."""

from __future__ import annotations

from dataclasses import dataclass

from coto_lab.merging.registry import RULES


@dataclass(frozen=True)
class Figure:
    label: str
    aim: str = ""
    note: str = ""


def _saving(method: str, paper: str) -> dict[str, Figure]:
    name = {"lora": "LoRA", "dora": "DoRA", "hira": "HiRA"}[method]
    return {
        f"saving.{method}.measured": Figure(
            f"CoTo on {name}, time saved over a whole ramp, %", f"paper {paper}", "each step counts the median of its kind"
        ),
        f"saving.{method}.predicted": Figure("  predicted from its masks, %", "", "three constants, fitted to designed masks"),
        f"saving.{method}.difference": Figure("  measured - predicted, points"),
        f"saving.{method}.plain_sums": Figure("  measured, hiccups included, %", "", "plain sums of the same steps"),
        f"saving.{method}.step_ms": Figure(f"  {name} step, ms"),
        f"saving.{method}.fixed_share": Figure("  part of that step: fixed, %", "", "forward, loss, data, optimiser"),
        f"saving.{method}.backward_share": Figure("  part of that step: backward through the base, %"),
        f"saving.{method}.adapter_share": Figure("  part of that step: adapters, %"),
        f"saving.{method}.adapter_share_for_paper": Figure(
            "  part that adapters need for 24.2%, %", "", "the rest split as it is; above 100: out of reach"
        ),
    }


def _scored(name: str, what: str, aim: str, loop: str) -> dict[str, Figure]:
    return {
        f"{name}.together_s": Figure(f"{what}, s"),
        f"{name}.loop_s": Figure("  PEFT in a loop, s", "", loop),
        f"{name}.over_loop": Figure("  loop / together", aim),
    }


def _memory(name: str, what: str, loop: str) -> dict[str, Figure]:
    return {
        f"memory.{name}.together_mib": Figure(f"peak memory: {what}, MiB", "", "above what the process held before"),
        f"memory.{name}.loop_mib": Figure(f"  {loop}, MiB"),
    }


def _bounded(name: str, what: str) -> dict[str, Figure]:
    return {
        **_memory(name, what, "PEFT in a loop, batches up to 512"),
        f"memory.{name}.results_mib": Figure("  of which its results, MiB", "", "loss and correctness of every example"),
        f"memory.{name}.of_bound": Figure("  the rest, % of the evaluator's bound", "≤ 100"),
    }


FIGURES: dict[str, Figure] = {
    **_saving("lora", "7.2"),
    **_saving("dora", "23.7"),
    **_saving("hira", "24.2"),
    "saving.adapters_closed": Figure("CoTo ramp: adapters closed, % of all", "", "saving = this x adapters' part ..."),
    "saving.backward_spared": Figure("CoTo ramp: blocks below the lowest open one, %", "", "... + this x backward's part"),
    "step.lora_ms": Figure("LoRA step of the lab, ms", "", "with gates and records"),
    "step.lora_over_peft": Figure("  lab / plain PEFT"),
    "step.lora_pro_over_lora": Figure("  LoRA-Pro / LoRA", "≤ 2", "moments of the full matrices; 24 modules, all in one batch"),
    "step.sdpa_over_eager": Figure("  sdpa / eager attention", "", "the base ships with eager"),
    "fit_many.eager.step_ms": Figure("fit_many, step of 10 LoRA rows, ms", "", "eager attention, as the base ships"),
    "fit_many.eager.over_fits": Figure("  10 steps of fit / it", "≥ 2"),
    "fit_many.eager.over_peft": Figure("  10 steps of plain PEFT / it", "≥ 2"),
    "fit_many.sdpa.step_ms": Figure("fit_many, step of 10 LoRA rows, ms", "", "sdpa attention, transformers' default"),
    "fit_many.sdpa.over_fits": Figure("  10 steps of fit / it"),
    "fit_many.sdpa.over_peft": Figure("  10 steps of plain PEFT / it"),
    "fit_many.coto.over_fits": Figure("  10 CoTo rows: 10 steps of fit / it", "", "sums over a ramp; fit skips whole adapters"),
    **_scored("interpolation", "interpolation, 21 points together", "≥ 1.2", "weights copied in, batches of 512"),
    "interpolation.base_s": Figure("  the base alone, 21 times, s", "", "without adapters, at the evaluator's batch size"),
    "interpolation.share_of_base": Figure("  base / together, %", "", "100: nothing left to gain but in the base"),
    **_scored("shapley8", "exact Shapley, 8 blocks, 256 coalitions", "≥ 3 (limit 4)", "a random sample, scaled up"),
    **_scored("shapley12", "exact Shapley, 12 blocks, 4096 coalitions", "≥ 5 (limit 6)", "a random sample, scaled up"),
    "strings.step.lora_ms": Figure("on strings: LoRA step of the lab, ms", "", "language model, r and steps as in the gallery"),
    "strings.step.lora_over_peft": Figure("  lab / plain PEFT"),
    "strings.fit_many.step_ms": Figure("on strings: fit_many, step of 10 LoRA rows, ms"),
    "strings.fit_many.over_fits": Figure("  10 steps of fit / it", "as on digits"),
    "strings.fit_many.over_peft": Figure("  10 steps of plain PEFT / it", "as on digits"),
    **_scored("strings.interpolation", "on strings: interpolation, 21 points together", "as on digits", "batches of 512"),
    "strings.interpolation.base_s": Figure("  the base alone, 21 times, s"),
    "strings.interpolation.share_of_base": Figure("  base / together, %"),
    **_scored("strings.shapley8", "on strings: exact Shapley, 8 blocks", "as on digits", "a random sample, scaled up"),
    **_memory("fit_many", "fit_many, 10 rows", "one fit"),
    "memory.bound_mib": Figure("the evaluator's memory bound, MiB", "", "for activations, by default"),
    **_bounded("interpolation", "interpolation together"),
    **_bounded("shapley8", "exact Shapley, 8 blocks"),
    **_bounded("shapley12", "exact Shapley, 12 blocks"),
}
for _p in (0.1, 0.5, 0.9):
    FIGURES[f"gates.ours.p{_p}_us"] = Figure(
        f"drawing the gates of 32 blocks at p = {_p}, µs", "", "any step at once, no state"
    )
    FIGURES[f"gates.redrawn.p{_p}_us"] = Figure(
        "  torch.rand, redrawn until one opens, µs", "", "as the authors' README has it"
    )
FIGURES |= {
    "gates.set_us": Figure("drawing and setting 8 gates, 24 layers, µs"),
    "callback.qkv.step_us": Figure(
        "CoToCallback in a step, 32 blocks, LoRA on q, k, v, µs", "", "on_step_begin and on_step_end"
    ),
    "callback.qkv.share_percent": Figure(
        "  of a step of 100 million parameters, %", "< 0.5", "1 x 128 tokens, one thread, without the optimiser"
    ),
    "callback.all.step_us": Figure("  LoRA on all linear layers, µs"),
    "callback.all.share_percent": Figure("  of a step of 100 million parameters, %", "< 0.5"),
    "checkpointing.through_gflop": Figure(
        "checkpointing, 12 blocks, top one open: backward, GFLOP", "", "not reentrant, the embeddings ask for gradients"
    ),
    "checkpointing.stopping_gflop": Figure("  where it may stop, GFLOP", "", "let_backward_stop; counted, not timed"),
    "import_s": Figure("importing coto_lab after torch, s"),
    "views.live_s": Figure("live training of LoRA and CoTo, s", "", "in a kernel, no browser"),
    "views.drawing_share": Figure("  of which drawing, %", "< 10", "at most 4 times a second"),
    "views.scoring_share": Figure("  of which test accuracy on the way, %", "", "17 times, 410 images"),
    "views.growth_mib": Figure("kernel growth over 2000 redraws of it, MiB", "flat"),
    "views.schedule_ms": Figure("schedule explorer, redraw, ms", "< 100"),
    "views.switchboard_ms": Figure("switchboard, click, ms", "< 300"),
    "page.first_mb": Figure("playground, before the first reading, MB", "< 3", "a server that does not compress"),
    "page.first_ms": Figure("  from the request to it, ms", "", "server, browser and model on this machine"),
    "page.stroke_ms": Figure("  from a point of a stroke to the readings, ms", "< 50"),
    "page.click_ms": Figure("  from a click on a block to them, ms", "< 50"),
    "page.click_with_figures_ms": Figure("  the same with the figures in view, ms", "< 50"),
}


for _name, _what in (("lora", "LoRA"), ("coto", "CoTo")):
    FIGURES |= {
        f"compile.{_name}.eager_ms": Figure(f"{_what} step of a Llama of 8 blocks, ms", "", "a gate is open with p = 0.5"),
        f"compile.{_name}.compiled_ms": Figure("  with torch.compile, ms", "", "the whole model, inductor"),
        f"compile.{_name}.speedup": Figure("  without / with"),
        f"compile.{_name}.warm_up_s": Figure("  its first 12 steps, s", "", "in which graphs are made"),
    }


for _name, _what in (
    ("digits", "digits"), ("strings", "strings"), ("bert", "a BERT like MiniLM-L6"), ("llama", "a Llama of 8 blocks"),
):  # fmt: skip
    FIGURES |= {
        f"estimate.{_name}.lora.time": Figure(
            f"LoRA on {_what}: time taken / estimated", "0.8 to 1.2", "fit as a whole, 100 steps"
        ),
        f"estimate.{_name}.coto.time": Figure("  CoTo: time taken / estimated", "0.8 to 1.2"),
        f"estimate.{_name}.memory": Figure("  peak memory / estimated", "0.8 to 1.2"),
        f"estimate.{_name}.memory_checkpointing": Figure("  with checkpointing: peak / estimated", "0.8 to 1.2"),
    }

FIGURES |= {
    "processes.one_ms": Figure(
        "fit, one process with one thread, step, ms", "", "Llama of 17 million parameters, 8 x 64 tokens"
    ),
    "processes.two_ms": Figure("  two such processes, each with half of the batch, ms"),
    "processes.one_over_two": Figure("  one / two", "≥ 1.6", "median of turns; on two cores that are free"),
}


def merging_key(rule: str) -> str:
    """What the keys of a merging rule's figures begin with; ``rule`` is its name in `RULES`."""
    return f"merging.{rule.replace(' ', '_').replace('*', '_star')}"


for _name in RULES:
    FIGURES |= {
        f"{merging_key(_name)}_s": Figure(f"merging six adapters by the rule {_name!r}, s", "< 1", "rank 4; no model is run"),
        f"{merging_key(_name)}_over_ensemble": Figure("  it / ensemble"),
    }


for _axis, _sizes in (
    ("blocks", "2 to 64 blocks"), ("batch", "batches of 8 to 256"), ("width", "widths of 16 to 512"), ("rows", "1 to 32 rows"),
):  # fmt: skip
    for _method, _what in (("lora", "LoRA step"), ("coto", "CoTo step")):
        FIGURES |= {
            f"growth.{_axis}.{_method}.first_ms": Figure(f"{_what} from {_sizes}: the first, ms", "", "processor time"),
            f"growth.{_axis}.{_method}.last_ms": Figure("  the last, ms"),
            f"growth.{_axis}.{_method}.slope": Figure("  slope of log(time) over log(size)", "", "1: twice for twice"),
            f"growth.{_axis}.{_method}.last_slope": Figure("  slope of the last doubling"),
        }
FIGURES |= {
    "sweep.one_worker_s": Figure("Dask sweep of 20 runs on the digits, one worker, s", "", "100 steps; one thread each"),
    "sweep.two_workers_s": Figure("  two workers, s"),
    "sweep.over_one": Figure("  one / two", "≥ 1.7", "on two idle cores"),
}


def _ramp(key: str, name: str, aim: str, note: str = "") -> dict[str, Figure]:
    return {
        f"ramp.{key}.saving": Figure(f"CoTo on {name}, time saved over a whole ramp, %", aim, note),
        f"ramp.{key}.plain_ms": Figure(f"  {name} step, ms"),
        f"ramp.{key}.coto_ms": Figure("  CoTo step, mean over the ramp, ms"),
        f"ramp.{key}.plain_gib": Figure(f"  peak memory of {name}, GiB"),
        f"ramp.{key}.coto_gib": Figure("  of CoTo, GiB", "no higher"),
        f"ramp.{key}.coto_mean_gib": Figure("  of a CoTo step, mean over the ramp, GiB"),
    }


# Only on an accelerator (`gpu`). The language model has random weights in bf16; LoRA and its kin on q, k, v, up and down.
GPU_FIGURES: dict[str, Figure] = {
    **_ramp("lora", "LoRA", "≥ 10", "Llama shape, 1.1 billion parameters, 4 x 512 tokens, r = 32; paper 7.2"),
    **_ramp("dora", "DoRA", "≥ 24", "paper 23.7"),
    **_ramp("hira", "HiRA", "≥ 24", "paper 24.2"),
    **_ramp("lora.checkpointing", "LoRA, checkpointing", "", "not reentrant, inputs without gradients"),
    "ramp.adapters_closed": Figure("these ramps: adapters closed, % of all"),
    "ramp.backward_spared": Figure("these ramps: blocks below the lowest open one, %"),
    "fit_many.step_ms": Figure("fit_many, step of 16 LoRA rows on the digits, ms"),
    "fit_many.over_fits": Figure("  16 steps of fit / it", "≥ 5"),
    "curve.llama.together_s": Figure("21-point curve of the language model, together, s", "", "16 x 512 tokens"),
    "curve.llama.one_by_one_s": Figure("  one by one, s"),
    "curve.llama.base_s": Figure("  the base alone, 21 times, s"),
    "curve.llama.over_one_by_one": Figure("  one by one / together", "≥ 3"),
    "curve.llama.share_of_base": Figure("  base / together, %", "", "100: nothing left to gain but in the base"),
    "notebooks.train_s": Figure("LoRA and CoTo on the digits, 400 steps each, s", "", "one after the other"),
    "notebooks.interpolate_s": Figure("interpolation, 21 points, whole test set, s"),
    "notebooks.prune_s": Figure("pruning, all patterns of the paper, s"),
    "notebooks.shapley_s": Figure("exact Shapley values of 8 blocks, s"),
}
