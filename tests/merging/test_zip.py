"""One coefficient per input column: against dense arithmetic and stock PEFT."""

from __future__ import annotations

from pathlib import Path

import peft
import pytest
import torch
from tiny_models import randomise, vit

from coto_lab import Adapter
from coto_lab.adapters.names import PREFIX
from coto_lab.merging.updates import factors_of
from coto_lab.merging.zip import Columns, Zip, zipped


def lora(seed: int, r: int, alpha: float, **settings: object) -> Adapter:
    config = peft.LoraConfig(r=r, lora_alpha=alpha, target_modules=["q_proj", "v_proj"], **settings)
    return Adapter.from_model(randomise(peft.get_peft_model(vit(), config), seed))


ADAPTERS = [lora(0, 2, 4), lora(1, 3, 5, use_rslora=True), lora(2, 1, 0.5)]


def coefficients() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(len(own), own[0][0].shape[1], generator=generator) for name, own in factors_of(ADAPTERS).items()}


def test_zipped_is_the_dense_sum_of_scaled_columns() -> None:
    learned, base = coefficients(), vit()
    merged = zipped(factors_of(ADAPTERS), learned, ADAPTERS[0])
    assert merged.config["r"] == 6
    updates = [adapter.update(base) for adapter in ADAPTERS]
    for name, update in merged.update(base).items():
        expected = sum(m * own[name] for m, own in zip(learned[PREFIX + name], updates, strict=True))  # m scales columns
        torch.testing.assert_close(update, expected)


def test_stock_peft_computes_the_same_logits(tmp_path: Path) -> None:
    learned, images = coefficients(), torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    zipped(factors_of(ADAPTERS), learned, ADAPTERS[0]).save(tmp_path)
    loaded = peft.PeftModel.from_pretrained(vit(), str(tmp_path)).eval()
    dense = vit().eval()
    updates = [adapter.update(dense) for adapter in ADAPTERS]
    with torch.no_grad():
        for name in updates[0]:
            changes = [m * own[name] for m, own in zip(learned[PREFIX + name], updates, strict=True)]
            dense.get_submodule(name).weight.add_(sum(changes))
        torch.testing.assert_close(loaded(images).logits, dense(images).logits)


def test_columns_scale_the_rows_of_their_own_adapter() -> None:
    columns = Columns([2, 1], 3, start=1.0)
    with torch.no_grad():
        columns.coefficients.copy_(torch.tensor([[1.0, 2, 3], [0, -1, 0.5]]))
    a = torch.tensor([[1.0, 1, 1], [2, 2, 2], [4, 4, 4], [0, 0, 0]])  # the last row fills the rank up
    assert columns(a).tolist() == [[1, 2, 3], [2, 4, 6], [0, -4, 2], [0, 0, 0]]


def test_overlap_by_hand() -> None:
    columns = Columns([1, 1, 1], 2, start=0.0)
    with torch.no_grad():
        columns.coefficients.copy_(torch.tensor([[1.0, -2], [3, 1], [0, 4]]))
    pairs = [(3 + 2) / 2, (0 + 8) / 2, (0 + 4) / 2]  # of adapters 0 and 1, 0 and 2, 1 and 2
    assert columns.overlap().item() == pytest.approx(sum(pairs) / 3)
    assert Columns([4], 2, start=1.0).overlap() == 0


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"steps": 0}, "steps=0: must be a whole number, at least 1"),
        ({"batch_size": 2.5}, "batch_size=2.5: must be a whole number"),
        ({"seed": -1}, "seed=-1: must be a whole number"),
        ({"lr": 0}, "lr=0.0: the learning rate must be above 0"),
        ({"lr": float("nan")}, "lr=nan: must be a finite number"),
        ({"penalty": -0.1}, "penalty=-0.1: the weight of the overlap must not be negative"),
        ({"start": float("inf")}, "start=inf: must be a finite number"),
        ({"start": "one"}, "start='one': must be a number"),
    ],
)
def test_options_that_mean_nothing_are_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Zip(**wrong)  # type: ignore[arg-type]
