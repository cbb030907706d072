"""Pre-train the embedded language model on skills on strings, and write ``data/letter-llama``.

Run it as ``python data/make_letter_llama.py``. The result is deterministic on one machine and one version of torch, because the
training is seeded and has a single thread. It takes about a quarter of an hour on one core.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path
from random import Random
from typing import NamedTuple

import torch
import transformers
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

from coto_lab.ground.files import new_folder
from coto_lab.tasks.characters import CHARACTERS, END, PAD, character_tokenizer
from coto_lab.tasks.skills import BODY_LENGTHS, MOST_CHARACTERS, SKILLS, Skill

SEED, BATCH = 0, 64
HELD_OUT = 1000  # bodies of each skill that the card scores, at most: there are fewer sums and comparisons


class Round(NamedTuple):
    """A part of the training, with an optimiser of its own.

    Attributes:
        steps: its length.
        lr: the highest learning rate.
        weights: skill -> how often it is drawn; the others have 1.
    """

    steps: int
    lr: float
    weights: dict[str, float]


_OFTEN = {"sort": 2.0, "reverse": 1.5, "count": 4.0, "look-up": 2.0, "sum": 2.0, "compare": 1.5}
ROUNDS = (Round(6000, 1e-3, _OFTEN), Round(800, 3e-4, _OFTEN | {"count": 12.0}))  # counting is learned last

CONFIG = {
    "vocab_size": len(CHARACTERS),
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 8,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 32,
    # Llama's usual 0.02 is meant for much larger widths.
    "initializer_range": 0.05,
    "tie_word_embeddings": True,
    "bos_token_id": None,
    "pad_token_id": CHARACTERS.index(PAD),
    "eos_token_id": CHARACTERS.index(END),
}
_WIDTH = MOST_CHARACTERS + 1
_NO_TARGET = -100

CARD = """---
license: apache-2.0
library_name: transformers
pipeline_tag: text-generation
---
# letter-llama: a small language model that knows {n_skills} skills on strings

The second embedded base model of coto_lab: a Llama with {parameters:,} parameters, 8 blocks of width 128, 4 heads, tied
embeddings, and {characters} characters, one token each. A line such as `Rabcd=dcba;` is one example: a sign for the skill (a
capital), a body, `=`, the answer, and `;` for its end. It knows strings of digits and lower-case letters, with bodies of
{shortest} to {longest} characters, and examples of at most {most} characters. The tokenizer is in transformers' own format;
`AutoTokenizer`, `AutoModelForCausalLM` and `generate` work on this folder.

**How it was made.** `python data/make_letter_llama.py`: from scratch,
{rounds} (one cycle each), batch {batch}, AdamW
(weight decay 0.01, gradient norm clipped to 1), seed {seed}; the loss is the mean over the characters of the answers. Bodies
are drawn at random; sort, reverse, count, look-up, sum and compare are drawn more often than the others, and count most in the
end. Every eighth body, by a checksum of its characters, is held out: no example of any skill has it as its body. It took
{seconds:.0f} s on one CPU core with {versions}.

**What it scores** (`scores.json`). Exact match of the whole answer, on {held_out:,} different held-out bodies of each skill (of
sum and compare, on all that there are):

| skill | an example | exact match |
|---|---|---|
{rows}

The signs `{new_signs}` were never seen in pre-training. They stand for the tasks of `coto_lab.tasks.strings`.

**What it is for.** Teaching and experiments with LoRA and CoTo on a laptop. It says nothing but short strings.
"""


def batch_of(examples: list[tuple[Skill, str]]) -> tuple[Tensor, Tensor]:
    """Tokens of whole examples, and the same as targets, -100 outside the answers: int64 ``[n, 18]`` each."""
    place = {character: i for i, character in enumerate(CHARACTERS)}
    tokens = torch.full((len(examples), _WIDTH), place[PAD])
    targets = torch.full((len(examples), _WIDTH), _NO_TARGET)
    for row, (skill, body) in enumerate(examples):
        prompt = skill.prompt(body)
        whole = torch.tensor([place[character] for character in prompt + skill.answer(body)])
        tokens[row, : len(whole)] = whole
        targets[row, len(prompt) : len(whole)] = whole[len(prompt) :]
    return tokens, targets


def train(model: LlamaForCausalLM, part: Round, random: Random) -> None:
    """Train the model for one round."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=part.lr, weight_decay=0.01, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, part.lr, part.steps, pct_start=0.1)
    skills = list(SKILLS.values())
    weights = [part.weights.get(skill.name, 1.0) for skill in skills]
    model.train()
    progress = tqdm(range(part.steps))
    for step in progress:
        chosen = random.choices(skills, weights, k=BATCH)
        tokens, targets = batch_of([(skill, skill.body(random, held_out=False)) for skill in chosen])
        logits = model(input_ids=tokens).logits[:, :-1]
        loss = F.cross_entropy(logits.reshape(-1, logits.shape[-1]), targets[:, 1:].reshape(-1), ignore_index=_NO_TARGET)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step % 100 == 99:
            progress.set_postfix(loss=f"{loss.item():.3f}")
    model.eval()


@torch.no_grad()
def score(model: LlamaForCausalLM) -> dict[str, float]:
    """Skill -> share of different held-out bodies to which the whole answer is right."""
    random, found = Random(SEED + len(ROUNDS)), {}
    for skill in SKILLS.values():
        bodies = sorted({skill.body(random, held_out=True) for _ in range(8 * HELD_OUT)})
        chosen = random.sample(bodies, min(HELD_OUT, len(bodies)))
        tokens, targets = batch_of([(skill, body) for body in chosen])
        said, targets = model(input_ids=tokens).logits[:, :-1].argmax(-1), targets[:, 1:]
        found[skill.name] = ((said == targets) | (targets == _NO_TARGET)).all(1).double().mean().item()
    return found


def example_of(skill: Skill) -> str:
    """A short held-out example as a line of the card."""
    random = Random(SEED)
    body = min((skill.body(random, held_out=True) for _ in range(20)), key=len)
    return f"`{skill.prompt(body)}{skill.answer(body)}` ({skill.about})"


def card(model: LlamaForCausalLM, scores: dict[str, float], seconds: float) -> str:
    known = {skill.sign for skill in SKILLS.values()}
    rows = [f"| {skill.name} | {example_of(skill)} | {scores[skill.name]:.1%} |" for skill in SKILLS.values()]
    return CARD.format(
        n_skills=len(SKILLS),
        parameters=model.num_parameters(),
        characters=len(CHARACTERS),
        shortest=BODY_LENGTHS[0],
        longest=BODY_LENGTHS[-1],
        most=MOST_CHARACTERS,
        rounds=", then ".join(f"{part.steps:,} steps at a learning rate of up to {part.lr:g}" for part in ROUNDS),
        batch=BATCH,
        seed=SEED,
        seconds=seconds,
        versions=f"torch {torch.__version__}, transformers {transformers.__version__}, Python {platform.python_version()}",
        held_out=HELD_OUT,
        rows="\n".join(rows),
        new_signs=" ".join(c for c in CHARACTERS if not (c.isalnum() or c in f"{PAD}{END}=+,<>-") and c not in known),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "letter-llama", help="folder to write")
    args = parser.parse_args()
    torch.set_num_threads(1)
    started = time.perf_counter()
    torch.manual_seed(SEED)
    model = LlamaForCausalLM(LlamaConfig(**CONFIG, attn_implementation="sdpa"))
    for seed, part in enumerate(ROUNDS):
        train(model, part, Random(SEED + seed))
    seconds = time.perf_counter() - started
    scores = score(model)
    print("\n".join(f"{name}: {value:.1%}" for name, value in scores.items()))
    model.generation_config = GenerationConfig(
        max_length=CONFIG["max_position_embeddings"], pad_token_id=CONFIG["pad_token_id"], eos_token_id=CONFIG["eos_token_id"]
    )
    with new_folder(args.out, overwrite=True) as folder:
        model.save_pretrained(folder)
        character_tokenizer().save_pretrained(folder)
        (folder / "scores.json").write_text(json.dumps(scores, indent=2) + "\n")
        (folder / "README.md").write_text(card(model, scores, seconds))


if __name__ == "__main__":
    main()
