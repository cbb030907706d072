"""The model in the browser: the same logits as PyTorch and PEFT, from the same files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from playwright.sync_api import Error
from torch import Tensor

from coto_lab import Adapter, Classification, attach_gates
from coto_lab.probes.interpolation import line, mixtures

GALLERY = Path(__file__).parents[2] / "data/gallery"
CLOSE = 1e-4  # logits are up to about 20, so float32 itself gives no more than five digits after the point
IMAGES = 24
ALL = [True] * 8
SOME = [True, False, True, True, False, False, True, False]

BODY = """
    const { countsOf, enlarged } = await load("images.js");
    const { loraOf, mixed } = await load("adapters.js");
    const { Vit } = await load("vit.js");
    const read = async (name) =>
        loraOf(await tensors(`adapters/${name}/adapter_model.safetensors`), await json(`adapters/${name}/adapter_config.json`));
    const adapters = await Promise.all(argument.names.map(read));
    const adapter = adapters.length === 2 ? mixed(...adapters, argument.t) : adapters[0] ?? null;
    const vit = new Vit(await tensors("model/model.safetensors"));
    const { images } = await json("images.json");
    const chosen = images.filter((_, i) => i % argument.each === 0);
    const logits = chosen.map((digits) => vit.logits(enlarged(countsOf(digits)), adapter, argument.open));
    return floats(Float32Array.from(logits.flatMap((row) => [...row])));
"""


def in_torch(task: Classification, folder: Path | None, open_blocks: list[bool], images: Tensor) -> Tensor:
    """Logits ``[n, 36]`` of the base, or of the adapter in ``folder``."""
    model = task.load_base().eval()
    if folder is not None:
        model = PeftModel.from_pretrained(model, folder).eval()
        attach_gates(model).close(~torch.tensor(open_blocks))
    with torch.no_grad():
        return model(pixel_values=images).logits


def mixture(names: list[str], t: float, folder: Path) -> Path:
    """The folder of the adapter at ``t`` on the lab's own line between two adapters."""
    ends = [Adapter.load(GALLERY / name) for name in names]
    (variant,) = mixtures(ends, line(torch.tensor([t], dtype=torch.float64)))
    variant.adapter.save(folder)
    return folder


@pytest.mark.parametrize(
    ("names", "t", "open_blocks"),
    [
        ([], 0, ALL),
        (["lora-seed0"], 0, ALL),
        (["coto-seed0"], 0, SOME),
        (["lora-seed3"], 0, [not is_open for is_open in SOME]),
        (["coto-seed4"], 0, [False] * 8),
        (["lora-seed0", "lora-seed1"], 0.5, ALL),
        (["coto-seed1", "coto-seed2"], 0.3, SOME),
        (["lora-seed0", "coto-seed0"], 1, ALL),
    ],
)
def test_logits(
    run_js: Callable[..., Any], task: Classification, tmp_path: Path, names: list[str], t: float, open_blocks: list[bool]
) -> None:
    folder = mixture(names, t, tmp_path / "mixture") if len(names) == 2 else GALLERY / names[0] if names else None
    each = len(task.test) // IMAGES
    expected = in_torch(task, folder, open_blocks, task.test["pixel_values"][:][::each])
    found = run_js(BODY, {"names": names, "t": t, "open": open_blocks, "each": each}).view_as(expected)
    difference = (found - expected).abs().max().item()
    print(f"largest difference: {difference:.2e} (largest logit: {expected.abs().max():.1f})")
    assert difference < CLOSE


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("tensors.delete('classifier.bias')", "lacks classifier.bias, so it is of another model"),
        ("tensors.get('classifier.bias').shape = [10]", r"classifier.bias has the shape \[10\], but this model needs \[36\]"),
        ("image = image.slice(1)", "reads 256 pixels, but the image has 255"),
        ("open.pop()", "the adapter has 8 blocks and there are 7 switches"),
        ("factors.delete(`${first}.lora_B.weight`)", "lacks base_model.model.vit.layers.0.attention.q_proj.lora_B.weight"),
        ("factors.clear()", "This adapter is of another model"),
        ("config.use_dora = true", "plain LoRA only"),
        ("config.peft_type = 'VERA'", r"plain LoRA only, and this adapter is another one \(VERA\)"),
    ],
)
def test_what_does_not_fit(run_js: Callable[..., Any], change: str, message: str) -> None:
    body = f"""
        const first = "base_model.model.vit.layers.0.attention.q_proj";
        const base = await tensors("model/model.safetensors");
        const factors = await tensors("adapters/coto-seed0/adapter_model.safetensors");
        const config = await json("adapters/coto-seed0/adapter_config.json");
        const open = Array(8).fill(true);
        let image = new Float32Array(256);
        ((tensors) => {{ {change}; }})(base);
        const adapter = (await load("adapters.js")).loraOf(factors, config);
        new (await load("vit.js")).Vit(base).logits(image, adapter, open);
    """
    with pytest.raises(Error, match=message):
        run_js(body)


def test_adapters_of_other_settings_are_not_mixed(run_js: Callable[..., Any]) -> None:
    with pytest.raises(Error, match="have different settings"):
        run_js('(await load("adapters.js")).mixed({ scaling: 1, blocks: [] }, { scaling: 2, blocks: [] }, 0.5);')
