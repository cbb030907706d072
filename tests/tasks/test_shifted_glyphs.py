"""The six glyph tasks: fixed prints in other faces, five shifts by hand, and a base that reads none of them well."""

from __future__ import annotations

import hashlib

import pytest
import torch
from torch import Tensor, nn

from coto_lab import Classification, load_task
from coto_lab.tasks.digits import load_glyph_vit
from coto_lab.tasks.glyphs import CLASSES, HELD_OUT_FONTS, TRAIN_FONTS, render_prints
from coto_lab.tasks.shifted_glyphs import HANDWRITTEN, SHIFTS, TASKS, load_shifted_task

# Of each split: the SHA-256 of where pixels are above 0.34, its first 16 digits; none is nearer than 1e-5,
# so that processors which round differently agree.
PRINTS = {
    ("mirrored", "train"): "036b52fe6bd28628",
    ("mirrored", "test"): "cb474d23e873c885",
    ("turned", "train"): "9f708302ea0e6c70",
    ("turned", "test"): "04bde8a60ea702c1",
    ("inverted", "train"): "bfbcb16ab244bc8a",
    ("inverted", "test"): "bc68d693232dff8e",
    ("half-hidden", "train"): "b222145257588921",
    ("half-hidden", "test"): "7c28358047812fee",
    ("half-size", "train"): "323ba72d8c6ac0a9",
    ("half-size", "test"): "136a76c52602aad6",
}
ZERO_SHOT = {
    "handwritten": 28.4, "mirrored": 38.2, "turned": 4.6, "inverted": 1.2, "half-hidden": 27.5, "half-size": 17.4,
}  # fmt: skip


def ink(images: Tensor) -> str:
    return hashlib.sha256((images > 0.34).numpy().tobytes()).hexdigest()[:16]


@pytest.fixture(scope="module")
def base() -> nn.Module:
    return load_glyph_vit().eval()


@pytest.fixture(scope="module")
def tasks() -> dict[str, Classification]:
    return {name: load_shifted_task(name) for name in TASKS}


def accuracy(base: nn.Module, images: Tensor, labels: Tensor) -> float:
    with torch.no_grad():
        return 100 * (base(pixel_values=images).logits.argmax(1) == labels).double().mean().item()


def test_there_are_six_and_they_share_base_and_classes(tasks: dict[str, Classification]) -> None:
    assert TASKS == (HANDWRITTEN, "mirrored", "turned", "inverted", "half-hidden", "half-size")
    assert {(task.base, task.classes, task.target_modules) for task in tasks.values()} == {
        (load_task("digits").base, tuple(CLASSES), ("q_proj", "k_proj", "v_proj"))
    }
    assert [task.name for task in tasks.values()] == [f"glyphs/{name}" for name in TASKS]
    assert all(shift.about for shift in SHIFTS.values())


def test_handwriting_is_the_split_of_the_digits(tasks: dict[str, Classification], task: Classification) -> None:
    own = tasks[HANDWRITTEN]
    for ours, theirs in ((own.train_batch, task.train_batch), (own.test_batch, task.test_batch)):
        assert ours.keys() == theirs.keys() and all(torch.equal(column, theirs[name]) for name, column in ours.items())
    assert len(own.classes) == 36 and len(task.classes) == 10


@pytest.mark.parametrize("name", SHIFTS)
def test_prints_are_always_the_same_sixteen_and_twelve_of_each_character(name: str, tasks: dict[str, Classification]) -> None:
    again = load_task(f"glyphs/{name}")
    for split, shots in (("train", 16), ("test", 12)):
        batch = tasks[name].batch(split, range(36 * shots))
        assert tasks[name].size(split) == 36 * shots
        assert batch["labels"].tolist() == [label for label in range(36) for _ in range(shots)]
        images = batch["pixel_values"]
        assert images.dtype == torch.float32 and images.shape[1:] == (1, 16, 16)
        assert images.min() >= -1 and images.max() <= 1
        assert len(images.flatten(1).unique(dim=0)) == 36 * shots
        assert torch.equal(images, again.batch(split, range(36 * shots))["pixel_values"])
        assert ink(images) == PRINTS[name, split]


def test_faces_of_training_and_test_are_not_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    used = []
    monkeypatch.setattr("coto_lab.tasks.shifted_glyphs.render_prints", lambda fonts: used.append(fonts) or render_prints(fonts))
    load_shifted_task("turned")
    assert used == [TRAIN_FONTS, HELD_OUT_FONTS] and not set(TRAIN_FONTS) & set(HELD_OUT_FONTS)


def test_each_shift_by_hand() -> None:
    clean = render_prints(HELD_OUT_FONTS)[0, [CLASSES.index("F")]]  # [1, 64, 64], ink 1 on paper 0
    assert torch.equal(SHIFTS["mirrored"].of_print(clean)[0], torch.from_numpy(clean[0].numpy()[:, ::-1].copy()))
    turned = SHIFTS["turned"].of_print(clean)[0]
    assert all(turned[63 - column, row] == clean[0, row, column] for row in range(0, 64, 3) for column in range(0, 64, 3))
    half = SHIFTS["half-size"].of_print(clean)[0]
    assert half.shape == (64, 64) and not half[:16].any() and not half[48:].any() and not half[:, 48:].any()
    assert half[20, 30].item() == pytest.approx(clean[0, 8:10, 28:30].mean().item(), abs=1e-6)
    assert half.sum().item() == pytest.approx(clean.sum().item() / 4, rel=1e-5)
    image = torch.linspace(-1, 1, 256).view(1, 1, 16, 16)
    assert torch.equal(SHIFTS["inverted"].of_image(image), -image)
    hidden = SHIFTS["half-hidden"].of_image(image)
    assert torch.equal(hidden[:, :, :8], image[:, :, :8]) and (hidden[:, :, 8:] == -1).all()
    for name in ("mirrored", "turned", "half-size"):
        assert SHIFTS[name].of_image(image) is image
    for name in ("inverted", "half-hidden"):
        assert SHIFTS[name].of_print(clean) is clean


@pytest.mark.parametrize("name", TASKS)
def test_the_base_reads_none_of_them_well(name: str, base: nn.Module, tasks: dict[str, Classification]) -> None:
    batch = tasks[name].test_batch
    assert accuracy(base, batch["pixel_values"], batch["labels"]) == pytest.approx(ZERO_SHOT[name], abs=0.5)
    assert ZERO_SHOT[name] < 75


def test_the_base_reads_such_prints_without_a_shift(base: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    identity = type(SHIFTS["turned"])("nothing happens", lambda prints: prints, lambda images: images)
    monkeypatch.setattr("coto_lab.tasks.shifted_glyphs.SHIFTS", {"clean": identity})
    batch = load_shifted_task("clean").test_batch
    assert accuracy(base, batch["pixel_values"], batch["labels"]) == pytest.approx(98.8, abs=0.5)


def test_no_global_random_number_is_drawn() -> None:
    before = torch.get_rng_state()
    load_shifted_task("mirrored")
    assert torch.equal(torch.get_rng_state(), before)


def test_an_unknown_task_is_refused() -> None:
    with pytest.raises(KeyError, match="upside-down"):
        load_shifted_task("upside-down")
    for name in ("glyphs/upside-down", "glyphs/", "mirrored", "strings/mirrored"):
        with pytest.raises(
            ValueError, match=r"no such task; there is 'digits', 'docstrings', 'glyphs/handwritten', .*'strings/"
        ):
            load_task(name)
