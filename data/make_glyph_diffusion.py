"""Train the diffusion model of glyphs and the face classifier: ``python data/make_glyph_diffusion.py``.

Both are written into ``data/glyph-diffusion``. The result is deterministic on one machine and one version of torch, because the
training is seeded and has a single thread. It takes about five minutes on one core.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path

import diffusers
import PIL
import torch
from diffusers import DDIMScheduler, DiTTransformer2DModel
from diffusers.training_utils import EMAModel
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from coto_lab.ground.files import new_folder
from coto_lab.probes import face_classifier
from coto_lab.probes.face_classifier import FaceClassifier
from coto_lab.probes.glyph_sampling import right_content, right_style, sample_glyphs
from coto_lab.tasks.diffuser import BASE, load_diffuser
from coto_lab.tasks.glyph_diffusion import JITTER, KNOWN_CHARACTERS, NEW_CHARACTERS, draw_prints
from coto_lab.tasks.glyphs import CLASSES, IMAGE_SIZE, TRAIN_FONTS

SEED, STEPS, BATCH, LR, DECAY = 0, 2500, 32, 2e-3, 0.998
FACE_STEPS, FACE_LR = 600, 3e-3
SAMPLES = 20  # of each character, for the scores
HELD_OUT = 5000  # prints, for the scores of the classifiers

CONFIG = {
    "sample_size": IMAGE_SIZE,
    "patch_size": 2,
    "in_channels": 1,
    "out_channels": 1,
    "num_layers": 8,
    "num_attention_heads": 4,
    "attention_head_dim": 16,
    "num_embeds_ada_norm": len(CLASSES),
}
NOISE = {
    "num_train_timesteps": 1000,
    "beta_schedule": "squaredcos_cap_v2",
    "prediction_type": "v_prediction",
    "timestep_spacing": "trailing",  # sampling begins with pure noise
}

CARD = """---
license: apache-2.0
library_name: diffusers
---
# glyph-diffusion: a small diffusion transformer that draws printed characters

The base model of coto_lab's experiment on content and style: diffusers' `DiTTransformer2DModel` with {parameters:,} parameters,
8 blocks of width 64, 4 heads, {size}x{size} grey images (ink 1, paper -1) in patches of 2, and a label for each of the 36
characters 0-9, A-Z. It predicts the velocity of a noisy image; `scheduler_config.json` is the noise schedule. Half precision.

**How it was made.** `python data/make_glyph_diffusion.py`: from scratch, {steps:,} steps of batch {batch}, AdamW (weight decay
0.01, gradient norm clipped to 1), one-cycle learning rate up to {lr}, no dropped labels, seed {seed}; the weights are an
exponential moving average of decay {decay}, and every block began as the identity (adaLN-Zero). {images:,} prints, each seen
once, rendered from {fonts} TrueType fonts that matplotlib bundles (DejaVu, STIX, Computer Modern; free licences), with
{jitter:g} of the jitter of glyph-vit. {seconds:.0f} s on one CPU core, shared with other work, with {versions}.

**What it has not seen**: the characters {new}, whose labels have the random embeddings of the start, and hatched strokes.

**What it draws** (`scores.json`; {samples} samples of each character, DDIM of 20 steps):

| asked for | glyph-vit classifies as that character | the face classifier says hatched |
|---|---|---|
| the {known} characters that it knows | {known_content:.1%} | {known_style:.1%} |
| the {unknown} that it has not seen | {new_content:.1%} | {new_style:.1%} |

**The classifiers that score samples.** `face_classifier.safetensors` is a convolutional network of {face_parameters:,}
parameters, trained on jittered prints of all 36 characters, half of them hatched; it has seen no sample. On {held_out:,}
held-out prints of each kind it is right on {face_hatched:.1%} of the hatched and on {face_plain:.1%} of the others. Of the
hatched prints of the {unknown} new characters, glyph-vit classifies {hatched_content:.1%} correctly: samples cannot be expected
to do much better.

**What it is for.** Teaching and experiments with merging on a laptop. It draws nothing but tiny glyphs.
"""


def begin(model: DiTTransformer2DModel) -> DiTTransformer2DModel:
    """Blocks that begin as the identity, and an output that begins at 0 (adaLN-Zero, arXiv:2212.09748); no dropped labels.

    diffusers leaves both to whoever trains; without them, the model learns several times as slowly.
    """
    for block in model.transformer_blocks:
        torch.nn.init.zeros_(block.norm1.linear.weight)
        torch.nn.init.zeros_(block.norm1.linear.bias)
        block.norm1.emb.class_embedder.dropout_prob = 0.0
    for layer in (model.proj_out_1, model.proj_out_2):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    return model


def train(steps: int) -> DiTTransformer2DModel:
    torch.manual_seed(SEED)
    model = begin(DiTTransformer2DModel(**CONFIG).train())
    schedule = DDIMScheduler(**NOISE)
    average = EMAModel(model.parameters(), decay=DECAY, use_ema_warmup=True, power=0.75)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=0.01, fused=True)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, steps, pct_start=0.1)
    generator = torch.Generator().manual_seed(SEED)
    progress = tqdm(range(steps), mininterval=10)
    for step in progress:
        images, labels = draw_prints(KNOWN_CHARACTERS, 2 * BATCH, generator)
        chosen = torch.randperm(2 * BATCH, generator=generator)[:BATCH]  # prints are drawn for each character in turn
        images, labels = images[chosen], labels[chosen]
        noise = torch.randn(images.shape, generator=generator)
        times = torch.randint(NOISE["num_train_timesteps"], labels.shape, generator=generator)
        predicted = model(schedule.add_noise(images, noise, times), timestep=times, class_labels=labels).sample
        loss = F.mse_loss(predicted, schedule.get_velocity(images, noise, times))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        rate.step()
        optimizer.zero_grad()
        average.step(model.parameters())
        if step % 100 == 99:
            progress.set_postfix(loss=f"{loss.item():.3f}")
    average.copy_to(model.parameters())
    return model.eval()


def faces(characters: str, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """n prints in the base's faces, and then n hatched ones; their labels; and whether they are hatched."""
    plain, labels = draw_prints(characters, n, generator)
    hatched, _ = draw_prints(characters, n, generator, in_hatching=True)
    return torch.cat([plain, hatched]), torch.cat([labels, labels]), torch.arange(2 * n) >= n


def train_face_classifier() -> FaceClassifier:
    torch.manual_seed(SEED)
    model = FaceClassifier().train()
    optimizer = torch.optim.Adam(model.parameters(), lr=FACE_LR)
    generator = torch.Generator().manual_seed(SEED)
    for _ in tqdm(range(FACE_STEPS)):
        images, _, target = faces(CLASSES, 72, generator)
        loss = F.binary_cross_entropy_with_logits(model(images), target.float())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


@torch.no_grad()
def score(model: DiTTransformer2DModel, face: FaceClassifier) -> dict[str, float]:
    """What the classifiers say of samples, and how good the classifiers are."""
    schedule, scores = DDIMScheduler(**NOISE), {}
    for name, characters in (("known", KNOWN_CHARACTERS), ("new", NEW_CHARACTERS)):
        images = sample_glyphs(model, schedule, characters, each=SAMPLES, seed=SEED + 1)
        scores[f"{name}_content"] = right_content(images, characters).double().mean().item()
        scores[f"{name}_style"] = right_style(images, face).double().mean().item()
    generator = torch.Generator().manual_seed(SEED + 1)
    images, _, target = faces(CLASSES, HELD_OUT, generator)
    right = (face(images) > 0) == target
    scores["face_plain"], scores["face_hatched"] = right[~target].double().mean().item(), right[target].double().mean().item()
    n = HELD_OUT // len(NEW_CHARACTERS)
    images, _ = draw_prints(NEW_CHARACTERS, n * len(NEW_CHARACTERS), generator, in_hatching=True)
    prints = images.view(n, len(NEW_CHARACTERS), 1, IMAGE_SIZE, IMAGE_SIZE).transpose(0, 1)
    scores["hatched_content"] = right_content(prints, NEW_CHARACTERS).double().mean().item()
    return {name: round(value, 4) for name, value in scores.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / BASE)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--overwrite", action="store_true", help="replace an existing checkpoint")
    args = parser.parse_args()
    torch.set_num_threads(1)
    with new_folder(args.out, overwrite=args.overwrite) as folder:
        face = train_face_classifier()
        save_file(face.state_dict(), folder / face_classifier.WEIGHTS)
        start = time.perf_counter()
        model = train(args.steps)
        seconds = time.perf_counter() - start
        model.half().save_pretrained(folder)
        DDIMScheduler(**NOISE).save_pretrained(folder)
        scores = score(load_diffuser(folder), face)
        versions = f"torch {torch.__version__.split('+')[0]}, diffusers {diffusers.__version__}, Pillow {PIL.__version__}"
        (folder / "scores.json").write_text(json.dumps(scores, indent=2) + "\n")
        card = CARD.format(
            parameters=model.num_parameters(), size=IMAGE_SIZE, steps=args.steps, batch=BATCH, lr=LR, seed=SEED, decay=DECAY,
            images=args.steps * BATCH, fonts=len(TRAIN_FONTS), jitter=JITTER, seconds=seconds,
            versions=f"{versions}, {platform.machine()}", new=", ".join(NEW_CHARACTERS), known=len(KNOWN_CHARACTERS),
            unknown=len(NEW_CHARACTERS), samples=SAMPLES, held_out=HELD_OUT,
            face_parameters=sum(parameter.numel() for parameter in face.parameters()), **scores,
        )  # fmt: skip
        (folder / "README.md").write_text(card)
    print(json.dumps(scores, indent=2))


if __name__ == "__main__":
    main()
