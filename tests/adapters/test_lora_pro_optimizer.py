"""The optimiser of LoRA-Pro, against full-rank steps written by hand, torch's AdamW, and a real Trainer."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers
from full_rank import FullRank
from tiny_models import TARGETS, vit
from torch import Tensor, nn

from coto_lab.adapters import lora_pro, lora_pro_optimizer
from coto_lab.adapters.lora_pro_optimizer import LoRAProOptimizer
from coto_lab.training import optimizer_state

OUT, IN, R = 4, 5, 2
Parameters = dict[str, nn.Parameter]


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def pairs(n: int = 1, b: float = 1.0, out: int = OUT, width: int = IN) -> Parameters:
    """Factors of some modules by PEFT's names; B is 0 for ``b=0``."""
    made: Parameters = {}
    for i in range(n):
        made[f"layers.{i}.q.lora_A.default.weight"] = nn.Parameter(randn(R, width, seed=10 + i))
        made[f"layers.{i}.q.lora_B.default.weight"] = nn.Parameter(b * randn(out, R, seed=20 + i))
    return made


def pull(parameters: Parameters, scaling: float) -> list[Tensor]:
    """Gradients of ‖s·BA − T‖² / 2 by autograd; returns those of the product, ``[out, in]`` each."""
    factors, of_weights = list(parameters.values()), []
    for i, (a, b) in enumerate(zip(factors[::2], factors[1::2], strict=True)):
        error = scaling * b @ a - randn(len(b), a.shape[1], seed=30 + i)
        (error**2).sum().div(2).backward()
        of_weights.append(error.detach())
    return of_weights


@pytest.mark.parametrize("form", ["adam", "sgd"])
@pytest.mark.parametrize("scaling", [1.0, 2.5, 3 / math.sqrt(R)])
@pytest.mark.parametrize("b", [1.0, 0.0], ids=["later", "from the start"])
def test_steps_are_those_of_a_full_rank_optimizer(monkeypatch: pytest.MonkeyPatch, form: str, scaling: float, b: float) -> None:
    monkeypatch.setattr(lora_pro, "DAMPING", 1e-15)  # of which the oracle has none
    parameters = pairs(2, b)
    values = list(parameters.values())
    by_hand = [FullRank(values[2 * i], values[2 * i + 1], scaling, form, weight_decay=0.1) for i in range(2)]
    optimizer = LoRAProOptimizer(parameters.items(), lr=0.1, scaling=scaling, form=form, weight_decay=0.1)
    for step in range(6):
        optimizer.param_groups[0]["lr"] = lr = 0.1 / (1 + step)
        for module, g in zip(by_hand, pull(parameters, scaling), strict=True):
            module.step(g, lr)
        optimizer.step()
        optimizer.zero_grad()
        for i, module in enumerate(by_hand):
            torch.testing.assert_close(values[2 * i].detach(), module.a, rtol=1e-6, atol=1e-7)
            torch.testing.assert_close(values[2 * i + 1].detach(), module.b, rtol=1e-6, atol=1e-7)
    assert (form == "sgd") == (not optimizer.state)


def test_one_sgd_step_is_the_arithmetic_of_the_paper() -> None:
    """With A = [1 0], B = [2 0]ᵀ and s = 3: BᵀB = 4, AAᵀ = 1, and 4 X + X = -(1/9)(1/4)(6), so X = -1/30."""
    a, b = nn.Parameter(torch.tensor([[1.0, 0.0]])), nn.Parameter(torch.tensor([[2.0], [0.0]]))
    g = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    a.grad, b.grad = 3 * b.detach().T @ g, 3 * g @ a.detach().T
    assert a.grad.tolist() == [[6, 12]] and b.grad.tolist() == [[3], [9]]
    LoRAProOptimizer([("lora_A", a), ("lora_B", b)], lr=1.0, scaling=3.0, form="sgd").step()
    torch.testing.assert_close(a.detach(), torch.tensor([[1 - (6 / 36 - 1 / 30), 0 - 12 / 36]]))
    torch.testing.assert_close(b.detach(), torch.tensor([[2 - 2 / 30], [0 - 9 / 9]]))


def test_pairs_without_gradients_keep_everything_and_their_own_step_count() -> None:
    parameters, alone = pairs(2), pairs(1)
    both, one = (LoRAProOptimizer(p.items(), lr=0.1, scaling=2.0, weight_decay=0.1) for p in (parameters, alone))
    values, second = list(parameters.values()), list(parameters.values())[2:]
    for step in range(6):
        pull(parameters, 2.0)
        dropped = second if step % 2 else []
        for parameter in dropped:
            parameter.grad = None
        before = [copy.deepcopy(both.state[p]) for p in dropped] + [p.detach().clone() for p in dropped]
        both.step()
        both.zero_grad()
        after = [both.state[p] for p in dropped] + [p.detach() for p in dropped]
        assert str(before) == str(after) and len(before) == 2 * len(dropped)
        pull(alone, 2.0)
        one.step()
        one.zero_grad()
    assert [both.state[p]["step"].item() for p in values[1::2]] == [6, 3]
    for mine, expected in zip(values, alone.values(), strict=False):
        torch.testing.assert_close(mine, expected)  # the first pair did not see that the second was dropped


def test_groups_and_shapes_go_together_or_apart_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows with rates, decays and scales of their own; one at a time or as batches, the steps are the same."""
    own: list[dict[str, Any]] = [
        {"lr": 0.1, "weight_decay": 0.0, "scaling": 2.0, "betas": (0.9, 0.999), "eps": 1e-8},
        {"lr": 0.02, "weight_decay": 0.5, "scaling": 0.5, "betas": (0.5, 0.9), "eps": 1e-2},
    ]

    sizes, step_together = [], LoRAProOptimizer._step_together

    def spied(self: LoRAProOptimizer, form: str, batch: Any) -> None:
        sizes.append(len(batch))
        step_together(self, form, batch)

    monkeypatch.setattr(LoRAProOptimizer, "_step_together", spied)

    def trained(split: bool, entries: int) -> list[Tensor]:
        monkeypatch.setattr(lora_pro_optimizer, "_ENTRIES_AT_ONCE", entries)
        rows = [pairs(3) | {f"wide.{name}": p for name, p in pairs(1, width=8, out=3).items()} for _ in own]
        groups = [
            {"params": list(row.values()), "names": list(row), "row": i, **kind}
            for i, (row, kind) in enumerate(zip(rows, own, strict=True))
        ]
        optimizers = [LoRAProOptimizer(chosen) for chosen in ([[g] for g in groups] if split else [groups])]
        for _ in range(3):
            for row in rows:
                pull(row, 1.0)
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad()
        return [parameter.detach() for row in rows for parameter in row.values()]

    together = trained(split=False, entries=2**22)
    assert len(together) == 16 and not torch.allclose(together[0], together[8])
    for split, entries in ((True, 2**22), (False, 1), (False, 2 * OUT * IN)):
        for mine, expected in zip(trained(split, entries), together, strict=True):
            torch.testing.assert_close(mine, expected)
    assert sizes[:2] == [6, 2] and sizes[-5:] == [2, 2, 2, 1, 1]


@pytest.mark.parametrize("form", ["adam", "sgd"])
def test_everything_else_is_trained_by_adamw(form: str) -> None:
    names = ("classifier.weight", "classifier.bias", "layers.0.q.lora_B.default.bias", "unused.weight")
    mine, theirs = ({name: nn.Parameter(randn(3, 2 + i, seed=i).float()) for i, name in enumerate(names)} for _ in range(2))
    settings = {"lr": 0.05, "weight_decay": 0.3, "betas": (0.8, 0.95), "eps": 1e-6}
    own = LoRAProOptimizer([*mine.items(), *pairs(1).items()], scaling=2.0, form=form, **settings)  # type: ignore[arg-type]
    adamw = torch.optim.AdamW(theirs.values(), **settings)  # type: ignore[arg-type]
    for step in range(5):
        for parameters, optimizer in ((mine, own), (theirs, adamw)):
            for name in names[: 3 - step % 2]:
                parameters[name].grad = (parameters[name].detach() - 1).clone()
            optimizer.step()
            optimizer.zero_grad()
    for name in names:
        torch.testing.assert_close(mine[name], theirs[name])
    assert mine["unused.weight"] not in own.state


@pytest.mark.parametrize("form", ["adam", "sgd"])
@pytest.mark.parametrize("b", [1e-6, 1e-12, 0.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_small_factors_in_low_precision_do_not_blow_up(form: str, b: float, dtype: torch.dtype) -> None:
    parameters = {name: nn.Parameter(p.detach().to(dtype)) for name, p in pairs(2, b, out=32, width=24).items()}
    optimizer = LoRAProOptimizer(parameters.items(), lr=1e-3, scaling=2.0, form=form)
    for _ in range(10):
        values = list(parameters.values())
        for i in (0, 2):
            ((2 * values[i + 1] @ values[i] - 1) ** 2).mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        assert all(p.isfinite().all() and p.abs().max() < 10 for p in values)
    assert all(p.dtype == dtype for p in parameters.values())


def test_factors_of_lower_rank_in_float32_move_as_those_of_float64() -> None:
    """Two equal columns of B: the inverse of its Gram matrix would turn rounding into a step."""
    exact = pairs(1, out=32, width=24)
    b = list(exact.values())[1]
    b.data.copy_(b.data[:, :1].float())
    rounded = {name: nn.Parameter(p.detach().float()) for name, p in exact.items()}
    for parameters in (exact, rounded):
        optimizer = LoRAProOptimizer(parameters.items(), lr=1e-2, scaling=2.0)
        pull(parameters, 2.0)
        optimizer.step()
    for mine, expected in zip(rounded.values(), exact.values(), strict=True):
        torch.testing.assert_close(mine.double(), expected, rtol=0, atol=1e-3)


IMAGES = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def small_model() -> nn.Module:
    """A vision transformer with an adapter on it, and a head that is trained whole."""
    config = peft.LoraConfig(r=2, lora_alpha=5, target_modules=TARGETS, modules_to_save=["classifier"], bias="lora_only")
    return peft.get_peft_model(vit(), config)


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    for _ in range(steps):
        model(pixel_values=IMAGES, labels=torch.arange(6) % 3).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.parametrize("form", ["adam", "sgd"])
def test_its_state_goes_through_files_to_the_bit(form: str) -> None:
    def fresh() -> tuple[nn.Module, LoRAProOptimizer]:
        model = small_model()
        return model, LoRAProOptimizer(model.named_parameters(), lr=0.01, scaling=2.5, form=form, weight_decay=0.1)

    (whole, one), (saved, two), (loaded, three), (restored, four) = fresh(), fresh(), fresh(), fresh()
    train(whole, one, 5)
    train(saved, two, 2)
    for model in (loaded, restored):
        model.load_state_dict(saved.state_dict())
    three.load_state_dict(copy.deepcopy(two.state_dict()))
    packed, tensors = optimizer_state.pack(two, saved)
    optimizer_state.restore(four, restored, optimizer_state.unpack(json.loads(json.dumps(packed)), tensors))
    for model, optimizer in ((saved, two), (loaded, three), (restored, four)):
        train(model, optimizer, 3)
        assert all(map(torch.equal, whole.parameters(), model.parameters()))
        assert [group["form"] for group in optimizer.param_groups] == [form]
    names = {name.split("/")[1] for name in tensors}
    assert any("classifier" in name for name in names) and any("lora_B" in name for name in names) == (form == "adam")
    assert not any("lora_A" in name for name in names)


def test_a_trainer_of_transformers_takes_it(tmp_path: Path) -> None:
    """Its named parameters include the frozen ones; its checkpoint goes on to the bit."""
    rows = [{"pixel_values": image, "labels": i % 3} for i, image in enumerate(IMAGES)]

    def trained(steps: int, resume: bool = False) -> nn.Module:
        model = small_model()
        optimizer = LoRAProOptimizer(model.named_parameters(), lr=0.01, scaling=2.5)
        arguments = transformers.TrainingArguments(
            tmp_path / "out", max_steps=steps, save_steps=2, logging_strategy="no", report_to=[], disable_tqdm=True,
            per_device_train_batch_size=3, lr_scheduler_type="constant", use_cpu=True, seed=0, dataloader_pin_memory=False,
        )  # fmt: skip
        trainer = transformers.Trainer(model, arguments, train_dataset=rows, optimizers=(optimizer, None))  # type: ignore[arg-type]
        trainer.train(resume_from_checkpoint=resume)
        return model

    start, two, four = small_model(), trained(2), trained(4, resume=True)
    whole = trained(4)
    moved = [name for (name, p), q in zip(start.named_parameters(), two.parameters(), strict=True) if not torch.equal(p, q)]
    assert moved == [name for name, p in start.named_parameters() if p.requires_grad]
    for mine, expected in zip(four.parameters(), whole.parameters(), strict=True):
        assert torch.equal(mine, expected)


def test_a_closure_gives_the_loss_and_the_gradients() -> None:
    (a, b), (c, d) = pairs(1).values(), pairs(1).values()
    own = LoRAProOptimizer([("lora_A", a), ("lora_B", b)], lr=0.1, scaling=2.0)

    def closure() -> float:
        loss = ((2 * b @ a) ** 2).sum()
        loss.backward()
        return loss.item()

    assert own.step(closure) == pytest.approx(((2 * d @ c) ** 2).sum().item())
    ((2 * d @ c) ** 2).sum().backward()
    LoRAProOptimizer([("lora_A", c), ("lora_B", d)], lr=0.1, scaling=2.0).step()
    assert torch.equal(a, c) and torch.equal(b, d)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no scaling": ({"scaling": None}, r"scaling=None: give the scale s > 0 .*alpha / r, or alpha / √r"),
    "scaling 0": ({"scaling": 0.0}, r"scaling=0\.0: give the scale"),
    "form": ({"form": "momentum"}, "form='momentum': must be one of 'adam', 'sgd'"),
    "rate": ({"lr": -0.1}, r"lr=-0\.1: must be 0 or above"),
    "decay": ({"weight_decay": float("nan")}, "weight_decay=nan: must be 0 or above"),
    "eps": ({"eps": -1.0}, r"eps=-1\.0: must be 0 or above"),
    "betas": ({"betas": (0.9, 1.0)}, r"betas=\(0\.9, 1\.0\): both must be in \[0, 1\)"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_numbers_out_of_their_range_are_refused(case: str) -> None:
    settings, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        LoRAProOptimizer(pairs().items(), **{"scaling": 2.0} | settings)


def test_a_model_without_lora_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"no LoRA factors among the parameters \(weight, bias, \.\.\.\)\. This optimiser trains plain"
    ):
        LoRAProOptimizer(nn.Linear(3, 2).named_parameters(), lr=0.1)


def test_a_group_without_pairs_needs_no_scaling_beside_one_with_pairs() -> None:
    head = nn.Linear(3, 2)
    optimizer = LoRAProOptimizer([{"params": pairs().items(), "scaling": 2.0}, {"params": head.named_parameters()}])
    assert [len(group["params"]) for group in optimizer.param_groups] == [2, 2] and optimizer.defaults["lr"] == 1e-3


def test_a_group_that_is_refused_is_not_added() -> None:
    optimizer = LoRAProOptimizer(pairs().items(), scaling=2.0)
    with pytest.raises(ValueError, match="has no partner"):
        optimizer.add_param_group({"params": [("other.lora_A", nn.Parameter(randn(R, IN)))]})
    assert len(optimizer.param_groups) == 1


def test_half_a_gradient_is_refused() -> None:
    parameters = pairs()
    optimizer = LoRAProOptimizer(parameters.items(), scaling=2.0)
    pull(parameters, 2.0)
    next(iter(parameters.values())).grad = None
    with pytest.raises(ValueError, match=r"^layers\.0\.q: one of its factors lora_A and lora_B has a gradient, but the other"):
        optimizer.step()
