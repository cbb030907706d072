"""A layer that a method cannot adapt is refused by name, with the reason and the methods that can."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from tiny_models import bert, gpt2, vit
from tiny_tasks import CopyTask, gpt2_task, language_task
from torch import nn

from coto_lab import Classification, Recipe, Task, estimate, fit, fit_many
from coto_lab.adapters.methods import fit as fitting
from coto_lab.adapters.methods.boft import BOFT
from coto_lab.adapters.methods.lokr import LoKr
from coto_lab.adapters.methods.method import Method
from coto_lab.adapters.methods.oft import OFT
from coto_lab.adapters.methods.registry import known_methods

METHODS = list(known_methods())
ON_CONV1D = {"dora", "hira", "ia3", "lora", "lora-plus", "lora-pro", "randlora", "rslora", "vera"}
ON_CONV2D = {"dora", "hira", "ia3", "loha", "lokr", "lora", "lora-plus", "rslora"}
ON_EMBEDDING = {"dora", "hira", "lora", "lora-plus", "oft", "rslora"}


def refusal(method: str | Method, base: nn.Module, targets: list[str], r: int = 2) -> str:
    """What is said; empty where the method adapts the layers."""
    try:
        Recipe(method=method, r=r).put_on(base, targets)
    except ValueError as error:
        return str(error)
    return ""


def few_channels() -> nn.Module:
    """A convolution whose 1·3² inputs neither 8 nor 16 divides."""
    torch.manual_seed(0)
    return nn.ModuleDict({"conv": nn.Conv2d(1, 4, 3), "linear": nn.Linear(16, 16)})


@pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to False")
@pytest.mark.parametrize(
    ("make", "target", "name", "kind", "able"),
    [
        (gpt2, "c_attn", "transformer.h.0.attn.c_attn", "Conv1D", ON_CONV1D),
        (few_channels, "conv", "conv", "Conv2d", ON_CONV2D),
        (vit, "projection", "vit.embeddings.patch_embeddings.projection", "Conv2d", ON_CONV2D | {"oft", "boft"}),
        (bert, "word_embeddings", "bert.embeddings.word_embeddings", "Embedding", ON_EMBEDDING),
        (vit, "layernorm_before", "vit.layers.0.layernorm_before", "LayerNorm", set()),
        (vit, "q_proj", "", "", set(METHODS)),
    ],
    ids=["Conv1D", "Conv2d of 9 inputs", "Conv2d of 16 inputs", "Embedding", "LayerNorm", "Linear"],
)
def test_the_methods_that_can_are_those_that_do(
    make: Callable[[], nn.Module], target: str, name: str, kind: str, able: set[str]
) -> None:
    said = {method: refusal(method, make(), [target]) for method in METHODS}
    assert {method for method, words in said.items() if not words} == able
    for method in set(METHODS) - able:
        assert said[method].startswith(f"method {method!r} cannot adapt {name!r} ({kind}): ")
        offered = re.search(r"\. Methods that can with their default options: (.*)\.$", said[method])
        if able:
            assert offered is not None and offered[1] == ", ".join(map(repr, sorted(able)))
        else:
            assert said[method].endswith(". No method of this lab can.")


@pytest.mark.parametrize(
    ("method", "r", "targets", "said"),
    [
        (
            OFT(16),
            2,
            ["q_proj", "fc2"],
            r"'oft' .*\.fc2' \(Linear\): blocks of 16 do not divide its 24 inputs; blocks of 2, 3, 4, 6",
        ),
        (BOFT(16), 2, ["fc2"], r"'boft' .*blocks of 16 do not divide its 24 inputs; .* 'dora'.*'vera'"),
        ("pissa", 20, ["q_proj"], "'pissa' .*a decomposition of its weight has 16 components, and r=20 are wanted.*'lora'"),
        ("olora", 17, ["fc1"], "'olora' .*a decomposition of its weight has 16 components, and r=17 are wanted"),
        (
            "miss",
            20,
            ["fc2", "q_proj"],
            r"'miss' .*q_proj' \(Linear\): PEFT says: `r` \(20\) must be less than or equal to in_fea",
        ),
    ],
    ids=["OFT", "BOFT", "PiSSA", "OLoRA", "MiSS"],
)
def test_ranks_and_blocks_that_do_not_fit_are_refused(method: str | Method, r: int, targets: list[str], said: str) -> None:
    assert re.search(said, refusal(method, vit(), targets, r))


def test_a_later_layer_of_another_shape_is_the_one_that_is_named() -> None:
    layers = nn.ModuleDict({"first": nn.Linear(24, 8), "second": nn.Linear(24, 8), "small": nn.Linear(12, 8)})
    assert "cannot adapt 'small' (Linear): PEFT says: `r` (20)" in refusal("miss", layers, ["first", "second", "small"], 20)


def test_options_are_kept_in_mind() -> None:
    layers = nn.ModuleDict({"a": nn.Linear(12, 8)})
    assert refusal(OFT(4), layers, ["a"]) == "" and refusal(BOFT(6), nn.ModuleDict({"a": nn.Linear(12, 8)}), ["a"]) == ""
    assert refusal(LoKr(3), nn.ModuleDict({"a": nn.Linear(12, 8)}), ["a"]) == ""


@pytest.mark.parametrize("method", ["pissa", "olora"])
def test_a_weight_that_two_layers_share_is_not_rewritten(method: str) -> None:
    class Tied(CopyTask):
        target_modules = ("q_proj", "lm_head")

    said = f"method '{method}' cannot adapt 'lm_head': its start rewrites the weight, which another layer of the base uses, too"
    with pytest.raises(ValueError, match=said):
        fit(Tied(), Recipe(method=method, r=2, steps=1, batch_size=4), progress=False)


def test_other_errors_of_peft_are_left_as_they_are() -> None:
    with pytest.raises(ValueError, match=r"Target modules .* not found in the base model"):
        Recipe(method="loha").put_on(vit(), ["nothing"])


def test_large_layers_are_not_decomposed_to_see_who_could(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("svd", "qr"):
        monkeypatch.setattr(torch.linalg, name, lambda *given, **more: pytest.fail("decomposed"))
    layers = nn.ModuleDict({"a": nn.Linear(12, 8)})
    assert "'olora', 'pissa'" in refusal("oft", layers, ["a"])
    assert torch.equal(layers["a"].weight, layers["a"].weight)


def test_the_layers_are_not_changed_by_the_search() -> None:
    base = vit()
    before = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    reason = fitting._refusal(known_methods()["oft"](), "fc2", base.vit.layers[0].mlp.fc2, 2, "so it is")
    assert reason.startswith("method 'oft' cannot adapt 'fc2' (Linear): so it is. Methods that can")
    assert all(torch.equal(tensor, before[name]) for name, tensor in base.state_dict().items())


# --- Wherever a training begins ----------------------------------------------------------------------------------------------

USES: dict[str, Callable[[Task, Recipe], object]] = {
    "fit": lambda task, recipe: fit(task, recipe, progress=False),
    "fit_many": lambda task, recipe: fit_many(task, [recipe, replace(recipe, seed=1)], n_jobs=1, progress=False),
    "estimate": lambda task, recipe: estimate(task, recipe, seconds=0.1),
}


@pytest.mark.parametrize("use", list(USES))
@pytest.mark.parametrize("method", ["pissa", "miss", "loha"])
def test_every_training_says_so_at_its_start(use: str, method: str) -> None:
    said = rf"method '{method}' cannot adapt 'transformer\.h\.0\.attn\.c_attn' \(Conv1D\): .*Methods that can .*'lora', "
    with pytest.raises(ValueError, match=said):
        USES[use](gpt2_task(), Recipe(method=method, r=2, steps=2, batch_size=4))


@pytest.mark.parametrize("use", list(USES))
def test_blocks_are_looked_at_everywhere(use: str, tiny_task: Classification) -> None:
    with pytest.raises(
        ValueError, match=r"q_proj' \(Linear\): blocks of 5 do not divide its 16 inputs; blocks of 2, 4, 8, 16 do"
    ):
        USES[use](tiny_task, Recipe(method=OFT(5), steps=2, batch_size=4))


def test_embeddings_of_a_language_model(method: str = "vera") -> None:
    task = replace(language_task(), target_modules=("q_proj", "embed_tokens"))
    with pytest.raises(
        ValueError, match=r"method 'vera' cannot adapt 'model\.embed_tokens' \(Embedding\).*'dora', 'hira', 'lora'"
    ):
        fit(task, Recipe(method=method, r=2, steps=1, batch_size=4), progress=False)


@pytest.mark.parametrize("method", ["loha", "lokr", "oft", "boft", "ia3"])
def test_dropout_of_a_method_without_one_is_refused(method: str) -> None:
    said = rf"dropout=0\.1: method '{method}' has no dropout of its adapter's input\. Leave it at 0, or take one of 'dora'"
    with pytest.raises(ValueError, match=said):
        Recipe(method=method, dropout=0.1)
