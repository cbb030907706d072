from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler
from tiny_diffusion import tiny_diffuser

from coto_lab import Recipe
from coto_lab.adapters.adapter import Adapter
from coto_lab.merging.merge import merge
from coto_lab.merging.task_arithmetic import TaskArithmetic
from coto_lab.probes.face_classifier import load_face_classifier
from coto_lab.probes.glyph_sampling import right_content, right_style, sample_glyphs, score_samples
from coto_lab.tasks.diffuser import load_diffuser, load_noise_schedule
from coto_lab.tasks.glyph_diffusion import NEW_CHARACTERS, draw_prints
from coto_lab.tasks.glyphs import CLASSES

TARGETS = ("to_q", "to_k", "to_v", "to_out.0")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_diffuser(tmp_path / "tiny")


def prints(in_hatching: bool, each: int = 30) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    images, _ = draw_prints(NEW_CHARACTERS, each * len(NEW_CHARACTERS), generator, in_hatching=in_hatching)
    return images.view(each, len(NEW_CHARACTERS), 1, 16, 16).transpose(0, 1)


@torch.no_grad()
def test_samples_are_those_of_the_formula_of_ddim(folder: Path) -> None:
    model, schedule, steps = load_diffuser(folder), load_noise_schedule(folder), 5
    found = sample_glyphs(model, schedule, "A7", each=2, seed=4, steps=steps)
    share = torch.cat([torch.ones(1), schedule.alphas_cumprod])  # of the image, before time 0 and at each time
    image = torch.randn(4, 1, 16, 16, generator=torch.Generator().manual_seed(4))
    labels = torch.tensor([CLASSES.index(character) for character in "AA77"])
    times = [999, 799, 599, 399, 199]
    for time, then in zip(times, [*times[1:], -1], strict=True):
        a, b = share[time + 1].sqrt(), (1 - share[time + 1]).sqrt()
        velocity = model(image, timestep=torch.full((4,), time), class_labels=labels).sample
        clean = (a * image - b * velocity).clamp(-1, 1)
        noise = a * velocity + b * image
        image = share[then + 1].sqrt() * clean + (1 - share[then + 1]).sqrt() * noise
    assert torch.allclose(found, image.clamp(-1, 1).view(2, 2, 1, 16, 16), atol=1e-4)


def test_the_same_seed_gives_the_same_images_and_torch_is_left_alone(folder: Path) -> None:
    model, schedule = load_diffuser(folder).train(), load_noise_schedule(folder)
    state = torch.random.get_rng_state()
    first = sample_glyphs(model, schedule, "AB", seed=1, steps=2)
    assert torch.equal(first, sample_glyphs(model, schedule, "AB", seed=1, steps=2))
    assert not torch.equal(first, sample_glyphs(model, schedule, "AB", seed=2, steps=2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert model.training
    assert isinstance(schedule, DDIMScheduler)
    assert schedule.num_inference_steps is None


def random_adapter(folder: Path, seed: int) -> Adapter:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        start = Adapter.from_model(Recipe(r=2).put_on(load_diffuser(folder), TARGETS))
        tensors = {name: torch.randn_like(tensor) / 4 for name, tensor in start.tensors.items()}
    return Adapter(start.config, tensors)


def test_the_sum_of_two_adapters_draws_what_the_sum_of_the_updates_draws(folder: Path) -> None:
    schedule, pair = load_noise_schedule(folder), [random_adapter(folder, seed) for seed in (1, 2)]
    dense = load_diffuser(folder)
    with torch.no_grad():
        for adapter in pair:
            for name, update in adapter.update(load_diffuser(folder)).items():
                dense.get_submodule(name).weight += update
    merged = merge(pair, TaskArithmetic(1.0)).attach(load_diffuser(folder))
    found = sample_glyphs(merged, schedule, "K2", steps=4)
    assert torch.allclose(found, sample_glyphs(dense, schedule, "K2", steps=4), atol=1e-4)
    assert not torch.allclose(found, sample_glyphs(load_diffuser(folder), schedule, "K2", steps=4), atol=1e-2)


def test_prints_have_the_right_content_and_their_own_style() -> None:
    face = load_face_classifier()
    for in_hatching, low, high in ((True, 0.95, 1.0), (False, 0.0, 0.05)):
        scores = score_samples(prints(in_hatching), NEW_CHARACTERS, face)
        assert scores.content > 0.9
        assert low <= scores.style <= high
        assert scores.both <= min(scores.content, scores.style)


def test_both_counts_images_that_are_right_in_both() -> None:
    face, images = load_face_classifier(), torch.cat([prints(True, 2)[:1], prints(False, 2)[1:2]])
    content, style = right_content(images, NEW_CHARACTERS[:2]), right_style(images, face)
    assert score_samples(images, NEW_CHARACTERS[:2], face).both == (content & style).double().mean().item()
    assert not style[1].any()


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"characters": ""}, "characters=''"),
        ({"characters": "a"}, "characters='a': give a string of characters"),
        ({"each": 0}, "each"),
        ({"steps": 0}, "steps"),
        ({"steps": 1001}, "steps"),
        ({"seed": -1}, "seed"),
    ],
)
def test_bad_input_is_refused(folder: Path, arguments: dict[str, object], message: str) -> None:
    given = {"characters": "A", "steps": 2} | arguments
    characters = given.pop("characters")
    with pytest.raises(ValueError, match=message):
        sample_glyphs(load_diffuser(folder), load_noise_schedule(folder), characters, **given)


def test_images_of_other_characters_are_refused() -> None:
    with pytest.raises(ValueError, match="images of 6 characters, and 2 were asked for"):
        right_content(prints(True, 1), "AB")
