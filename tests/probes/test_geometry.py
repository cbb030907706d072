from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from peft import get_peft_model
from scipy.spatial.distance import pdist, squareform
from sklearn.decomposition import PCA
from sklearn.metrics.pairwise import cosine_similarity
from tiny_models import config_of, randomise, vit
from tiny_tasks import gpt2_task, lora_adapters

from coto_lab import Adapter, Run
from coto_lab.probes.geometry import Geometry, geometry


def adapter(seed: int, method: str = "LoRA", **settings: object) -> Adapter:
    config = config_of(method)
    for name, value in settings.items():
        setattr(config, name, value)
    return Adapter.from_model(randomise(get_peft_model(vit(2), config), seed))


def dense(adapter: Adapter) -> torch.Tensor:
    """ΔW of all modules as PEFT itself computes it, one float64 vector."""
    model = adapter.attach(vit(2))
    updates = [m.get_delta_weight("default") for m in model.modules() if hasattr(m, "get_delta_weight")]
    return torch.cat([update.detach().double().flatten() for update in updates])


@pytest.fixture(scope="module")
def adapters() -> dict[str, Adapter]:
    """LoRAs of different ranks and scales."""
    return {"a": adapter(0), "b": adapter(1), "rank 3": adapter(2, r=3), "rslora": adapter(3, use_rslora=True)}


@pytest.fixture(scope="module")
def vectors(adapters: dict[str, Adapter]) -> torch.Tensor:
    return torch.stack([dense(item) for item in adapters.values()])


def test_updates_are_compared_as_the_dense_matrices_would_be(adapters: dict[str, Adapter], vectors: torch.Tensor) -> None:
    found = geometry(adapters)
    assert found.names == tuple(adapters) and found.gram.dtype == torch.float64
    close = {"rtol": 1e-5, "atol": 1e-5}  # PEFT multiplies in float32
    torch.testing.assert_close(found.gram, vectors @ vectors.T, **close)
    torch.testing.assert_close(found.norm, vectors.norm(dim=1), **close)
    torch.testing.assert_close(found.cosine, torch.from_numpy(cosine_similarity(vectors)), **close)
    torch.testing.assert_close(found.distance, torch.from_numpy(squareform(pdist(vectors))), **close)


def test_an_update_does_not_depend_on_its_factors() -> None:
    first = adapter(0)
    mix = torch.tensor([[2.0, 1.0], [0.5, -1.0]])
    change = {".lora_A.": lambda a: torch.linalg.inv(mix) @ a, ".lora_B.": lambda b: b @ mix}
    other = Adapter(first.config, {k: next(f for part, f in change.items() if part in k)(t) for k, t in first.tensors.items()})
    same, apart = (geometry({"a": first, "b": other}, space) for space in ("update", "factors"))
    assert same.cosine[0, 1] == pytest.approx(1, abs=1e-6) and same.distance[0, 1] < 1e-3 * same.norm[0]
    assert apart.cosine[0, 1] < 0.9


@pytest.mark.parametrize("method", ["LoRA", "DoRA", "HiRA"])
def test_factors_are_compared_as_one_vector(method: str) -> None:
    pair = {name: adapter(seed, method) for seed, name in enumerate("ab")}
    found = geometry(pair, "factors")
    a, b = (torch.cat([item.tensors[key].double().flatten() for key in sorted(item.tensors)]) for item in pair.values())
    assert found.norm.tolist() == pytest.approx([a.norm().item(), b.norm().item()])
    assert found.distance.tolist()[0] == pytest.approx([0, (a - b).norm().item()])
    assert found.cosine[0, 1].item() == pytest.approx(torch.cosine_similarity(a, b, dim=0).item())


def test_an_untrained_lora_is_at_the_start() -> None:
    untrained = Adapter.from_model(get_peft_model(vit(2), config_of("LoRA")))
    found = geometry({"start": untrained, "a": adapter(0)})
    assert found.norm[0] == 0 and found.distance[0, 1] == found.norm[1] > 0
    assert found.cosine[0].isnan().all()


def test_runs_stand_for_their_adapters(runs: tuple[Run, Run]) -> None:
    named = {"one": runs[0], "two": runs[1]}
    assert torch.equal(geometry(named).gram, geometry({name: run.adapter for name, run in named.items()}).gram)


def test_frame_has_a_row_per_pair(adapters: dict[str, Adapter]) -> None:
    found = geometry(adapters)
    frame = found.frame()
    assert list(frame.columns) == ["a", "b", "norm_a", "norm_b", "cosine", "distance"] and len(frame) == 6
    row = frame[(frame["a"] == "b") & (frame["b"] == "rslora")].iloc[0]
    expected = [found.norm[1], found.norm[3], found.cosine[1, 3], found.distance[1, 3]]
    assert row[["norm_a", "norm_b", "cosine", "distance"]].tolist() == [value.item() for value in expected]


def test_pca_is_that_of_the_dense_updates(adapters: dict[str, Adapter], vectors: torch.Tensor) -> None:
    found = geometry(adapters).embedding()
    expected = torch.from_numpy(PCA(2).fit_transform(vectors))
    assert found.dtype == torch.float64 and found.shape == (4, 2)
    torch.testing.assert_close(found.abs(), expected.abs(), rtol=1e-4, atol=1e-4)  # the sign of an axis is arbitrary
    torch.testing.assert_close(torch.cdist(found, found), torch.cdist(expected, expected), rtol=1e-4, atol=1e-4)


def test_pca_of_two_lies_on_a_line() -> None:
    found = geometry({"a": adapter(0), "b": adapter(1)})
    points = found.embedding()
    torch.testing.assert_close(points[:, 1], torch.zeros(2, dtype=torch.float64), atol=1e-5, rtol=0)
    assert (points[0] - points[1]).norm().item() == pytest.approx(found.distance[0, 1].item())


def test_tsne_keeps_neighbours_together_and_follows_its_seed() -> None:
    noise = torch.rand(12, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    spots = torch.tensor([0.0, 50.0]).repeat_interleave(6)[:, None] + noise
    found = Geometry(tuple("abcdefghijkl"), spots @ spots.T, "update")
    state = torch.get_rng_state()
    points = found.embedding("tsne", seed=1)
    distances = torch.cdist(points, points).fill_diagonal_(torch.inf)
    assert points.dtype == torch.float64 and (distances.argmin(1) // 6).tolist() == [0] * 6 + [1] * 6
    assert torch.equal(points, found.embedding("tsne", seed=1)) and not torch.equal(points, found.embedding("tsne", seed=2))
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("n", [2, 3])
def test_tsne_of_a_few(n: int) -> None:
    assert geometry({str(seed): adapter(seed) for seed in range(n)}).embedding("tsne").isfinite().all()


@pytest.mark.parametrize("method", ["DoRA", "HiRA", "IA3"])
def test_updates_of_other_methods_are_refused(method: str) -> None:
    with pytest.raises(ValueError, match=r"adapter 'a', space='update': .*\. Use space='factors'\."):
        geometry({"a": adapter(0, method), "b": adapter(1, method)})


def test_updates_of_several_ranks_in_one_adapter_are_refused() -> None:
    mixed = adapter(1, rank_pattern={"q_proj": 3})
    with pytest.raises(ValueError, match=r"adapter 'mixed', space='update': .* rank_pattern"):
        geometry({"a": adapter(0), "mixed": mixed})


def test_bad_input_is_refused(runs: tuple[Run, Run]) -> None:
    a, b = adapter(0), adapter(1)
    for too_few in ({}, {"a": a}):
        with pytest.raises(ValueError, match=rf"adapters has {len(too_few)}: give at least two"):
            geometry(too_few)
    with pytest.raises(ValueError, match="space='weights': must be 'update'"):
        geometry({"a": a, "b": b}, "weights")
    with pytest.raises(ValueError, match="how='umap': must be 'pca' or 'tsne'"):
        geometry({"a": a, "b": b}).embedding("umap")
    with pytest.raises(ValueError, match="different bases: 'tiny base' \\('a'\\), 'another' \\('b'\\)"):
        geometry({"a": runs[0], "b": replace(runs[1], base="another")})
    with pytest.raises(ValueError, match="'b' and 'a' are of different methods or modules"):
        geometry({"a": a, "b": adapter(1, target_modules={"q_proj"})})
    with pytest.raises(ValueError, match=r"is \[3, 16\] in 'b' and \[2, 16\] in the first adapter.*Use space='update'"):
        geometry({"a": a, "b": adapter(1, r=3)}, "factors")


def test_layers_that_store_their_weights_transposed_have_updates_as_others() -> None:
    """GPT-2's ``Conv1D``."""
    task = gpt2_task()
    pair = dict(zip("ab", lora_adapters(task), strict=True))
    updates = [torch.cat([u.double().flatten() for u in item.update(task.load_base()).values()]) for item in pair.values()]
    vectors = torch.stack(updates)
    torch.testing.assert_close(geometry(pair).gram, vectors @ vectors.T, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("adapters", [None, 3, "folder"])
def test_adapters_have_names(runs: tuple[Run, Run], adapters: object) -> None:
    for wrong in (adapters, list(runs), runs[0]):
        with pytest.raises(TypeError, match=rf"adapters is a {type(wrong).__name__}: give a dict, \{{name: run, adapter or"):
            geometry(wrong)  # type: ignore[arg-type]
