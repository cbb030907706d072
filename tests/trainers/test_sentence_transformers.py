"""`SentenceTransformerTrainer`: with `CoToCallback`, and an adapter of ``model.add_adapter(config)``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny_models as tiny
import tokenizers
import torch
import transformers
from datasets import Dataset
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from torch import Tensor, nn
from trained_weights import same, weights

from coto_lab import Constant, CoToCallback, Linear, Schedule, attach_gates, gates_of
from coto_lab.gating.coto import draw_mask

BLOCKS, SEED, ROWS, BATCH = 3, 5, 10, 2  # 5 batches an epoch
WORDS = [f"w{i}" for i in range(28)]
SCHEDULE = Linear(start=0.2)
ABSENT = {
    "generation_during_training": "Its models generate nothing.",
    "reference_is_the_disabled_adapter": "This training has no reference policy.",
    "reference_is_a_second_adapter": "This training has no reference policy.",
    "rollouts_see_the_whole_adapter": "This training makes no rollouts.",
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a tiny BERT and its tokenizer."""
    folder = str(tmp_path_factory.mktemp("bert"))
    words = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: i for i, word in enumerate(["<pad>", "<unk>", *WORDS])}, unk_token="<unk>")
    )
    words.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", unk_token="<unk>").save_pretrained(folder)
    tiny.bert(layers=BLOCKS).bert.save_pretrained(folder)
    return folder


def adapted(saved: str, dropout: float = 0.0) -> SentenceTransformer:
    model = SentenceTransformer(saved, device="cpu")
    torch.manual_seed(0)
    model.add_adapter(tiny.lora(["query", "value"], lora_dropout=dropout))
    return tiny.randomise(model)


def pairs(n: int = ROWS) -> Dataset:
    text = [" ".join(WORDS[(5 * row + i * i) % len(WORDS)] for i in range(4)) for row in range(n + 1)]
    return Dataset.from_dict({"question": text[:-1], "answer": text[1:]})


class Loss(MultipleNegativesRankingLoss):
    """Keeps the batches that it is given in training."""

    def forward(self, features: Any, labels: Any) -> Tensor:
        if self.model.training:
            self.__dict__.setdefault("batches", []).append([dict(text) for text in features])
        return super().forward(features, labels)


class Seen(transformers.TrainerCallback):
    """The blocks that have a gradient at each optimiser step."""

    def __init__(self) -> None:
        self.masks: list[list[bool]] = []

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        names = [name for name, p in model.named_parameters() if p.grad is not None]
        self.masks.append([any(f"layer.{i}." in name for name in names) for i in range(BLOCKS)])


def trainer_of(folder: Path, model: SentenceTransformer | None, *callbacks: Any, **settings: Any) -> SentenceTransformerTrainer:
    quiet = {"report_to": [], "disable_tqdm": True, "use_cpu": True, "logging_strategy": "no", "save_strategy": "no"}
    plain = {"learning_rate": 0.01, "weight_decay": 0.1, "optim": "adamw_torch", "lr_scheduler_type": "constant"}
    more = {key: settings.pop(key) for key in ("train_dataset", "model_init") if key in settings}
    args = SentenceTransformerTrainingArguments(
        folder, **{"max_steps": 6, "per_device_train_batch_size": BATCH, **plain, **quiet, **settings}
    )
    data = {"train_dataset": pairs(), "eval_dataset": pairs(4), **more}
    return SentenceTransformerTrainer(
        model=model, args=args, loss=Loss if model is None else Loss(model), callbacks=[*callbacks], **data
    )


def coto(schedule: Schedule = SCHEDULE) -> CoToCallback:
    return CoToCallback(schedule, seed=SEED)


def drawn(steps: int, schedule: Schedule = SCHEDULE) -> list[list[bool]]:
    return [draw_mask(BLOCKS, schedule(step / steps), SEED, step).tolist() for step in range(steps)]


def by_hand(
    model: SentenceTransformer,
    batches: list[Any],
    masks: list[list[bool]],
    *,
    sizes: list[int] | None = None,
    clip: float = 1.0,
    lr: float = 0.01,
) -> dict[str, Tensor]:
    """The weights after a plain loop over the same batches with the same gates; ``sizes``: micro-batches of each step."""
    loss, gates = MultipleNegativesRankingLoss(model.train()), attach_gates(model)
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=lr, weight_decay=0.1)
    given = iter(batches)
    for mask, size in zip(masks, sizes or [1] * len(masks), strict=True):
        gates.train_with(torch.tensor(mask))
        for _ in range(size):
            (loss(next(given), None) / size).backward()
        nn.utils.clip_grad_norm_(parameters, clip)
        optimizer.step()
        optimizer.zero_grad()
    gates.detach()
    return weights(model)


def test_gates_follow_the_schedule(saved: str, tmp_path: Path) -> None:
    model, seen, callback = adapted(saved), Seen(), coto()
    trainer = trainer_of(tmp_path, model, callback, seen)
    trainer.train()
    assert seen.masks == drawn(6) and callback.coto is not None and callback.coto.masks().tolist() == drawn(6)
    assert same(weights(model), by_hand(adapted(saved), trainer.loss.batches, drawn(6)))


def test_all_gates_open_is_the_plain_training(saved: str, tmp_path: Path) -> None:
    trained = []
    for callbacks in ([], [coto(Constant(1.0))]):
        model = adapted(saved, dropout=0.3)
        trainer_of(tmp_path, model, *callbacks).train()
        trained.append(weights(model))
    assert same(*trained) and not same(trained[0], weights(adapted(saved)))


def test_accumulation_with_a_short_last_group(saved: str, tmp_path: Path) -> None:
    model, seen = adapted(saved), Seen()
    settings = {"gradient_accumulation_steps": 2, "max_steps": -1, "num_train_epochs": 2}
    trainer = trainer_of(tmp_path, model, coto(), seen, **settings)
    trainer.train()
    assert seen.masks == drawn(6)
    assert same(weights(model), by_hand(adapted(saved), trainer.loss.batches, drawn(6), sizes=[2, 2, 1] * 2))


def test_clipping(saved: str, tmp_path: Path) -> None:
    model = adapted(saved)
    trainer = trainer_of(tmp_path, model, coto(), max_grad_norm=0.01)
    trainer.train()
    assert same(weights(model), by_hand(adapted(saved), trainer.loss.batches, drawn(6), clip=0.01))
    assert not same(weights(model), by_hand(adapted(saved), trainer.loss.batches, drawn(6)))


def test_bf16(saved: str, tmp_path: Path) -> None:
    model, in_single, seen = adapted(saved), adapted(saved), Seen()
    trainer_of(tmp_path / "bf16", model, coto(), seen, bf16=True).train()
    trainer_of(tmp_path / "single", in_single, coto()).train()
    assert seen.masks == drawn(6)
    ours, theirs = weights(model), weights(in_single)
    assert not same(ours, theirs) and all(torch.allclose(ours[name], theirs[name], atol=0.03) for name in ours)


@pytest.mark.filterwarnings("ignore:.*only defines .gradient_checkpointing_enable:FutureWarning")  # of transformers
def test_checkpointing(saved: str, tmp_path: Path) -> None:
    model, seen, counts = adapted(saved), Seen(), [0] * BLOCKS

    def count(i: int) -> None:
        counts[i] += 1

    for i, layer in enumerate(model[0].auto_model.encoder.layer):
        layer.attention.register_forward_pre_hook(lambda *_, i=i: count(i))
    kind = {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": False}}
    trainer = trainer_of(tmp_path, model, coto(), seen, **kind)
    trainer.train()
    lowest = [mask.index(True) for mask in drawn(6)]  # the backward pass ends there; below it, nothing is computed again
    assert counts == [2 * sum(1 + (i >= block) for block in lowest) for i in range(BLOCKS)]  # two texts in each step
    assert same(weights(model), by_hand(adapted(saved), trainer.loss.batches, drawn(6)))


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")  # of torch's compiler
def test_compiled(saved: str, tmp_path: Path) -> None:
    model, seen = adapted(saved), Seen()
    trainer = trainer_of(tmp_path, model, coto(), seen, max_steps=3, torch_compile=True, torch_compile_backend="eager")
    trainer.train()
    assert seen.masks == drawn(3)
    assert same(weights(model), by_hand(adapted(saved), trainer.loss.batches, drawn(3)))


def test_evaluation_during_training(saved: str, tmp_path: Path) -> None:
    model, seen, ran = adapted(saved), Seen(), []
    for name, module in model.named_modules():
        if name.endswith("query.lora_A.default"):
            module.register_forward_hook(lambda module, *_: None if module.training else ran.append(module))
    trainer = trainer_of(tmp_path, model, coto(Constant(0.0)), seen, eval_strategy="steps", eval_steps=2)
    trainer.train()
    assert len(ran) == 3 * 2 * BLOCKS and all(sum(mask) == 1 for mask in seen.masks)  # p = 0 keeps one open in training
    reported = [entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry]
    assert len(reported) == 3 and reported[-1] == trainer.evaluate()["eval_loss"]


EVALUATED = {"eval_strategy": "steps", "eval_steps": 1, "save_strategy": "steps", "save_steps": 1}
BEST = {"load_best_model_at_end": True, "metric_for_best_model": "eval_loss", **EVALUATED}


def test_early_stopping(saved: str, tmp_path: Path) -> None:
    model, seen = adapted(saved), Seen()
    stop = transformers.EarlyStoppingCallback(early_stopping_patience=1, early_stopping_threshold=100.0)
    trainer_of(tmp_path, model, coto(), seen, stop, **BEST).train()
    assert seen.masks == drawn(6)[:2]
    with pytest.raises(ValueError, match="carries no gates"):
        gates_of(model)


def test_best_model_at_the_end(saved: str, tmp_path: Path) -> None:
    model = adapted(saved)
    trainer = trainer_of(tmp_path, model, coto(), greater_is_better=True, **BEST)  # so that the last one is not the best
    trainer.train()
    best = trainer.state.best_global_step
    assert best < 6 and same(weights(model), by_hand(adapted(saved), trainer.loss.batches, drawn(6)[:best]))


SAVED = {"save_strategy": "steps", "save_steps": 3}


def test_resume(saved: str, tmp_path: Path) -> None:
    whole, resumed = (trainer_of(tmp_path, adapted(saved, dropout=0.3), coto(), **SAVED) for _ in range(2))
    whole.train()
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    assert same(weights(resumed.model), weights(whole.model)) and len(resumed.loss.batches) == 3


def test_resume_with_more_steps(saved: str, tmp_path: Path) -> None:
    seen = Seen()
    trainer_of(tmp_path, adapted(saved), coto(), max_steps=3, **SAVED).train()
    trainer = trainer_of(tmp_path, adapted(saved), coto(), seen, max_steps=8)
    trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    assert seen.masks == drawn(8)[3:]


def test_epochs(saved: str, tmp_path: Path) -> None:
    seen = Seen()
    trainer_of(tmp_path, adapted(saved), coto(), seen, max_steps=-1, num_train_epochs=2).train()
    assert seen.masks == drawn(10)


def test_data_of_unknown_length(saved: str, tmp_path: Path) -> None:
    model, seen = adapted(saved), Seen()
    trainer = trainer_of(tmp_path, model, coto(), seen, train_dataset=pairs().to_iterable_dataset())
    trainer.train()
    assert seen.masks == drawn(6) and same(weights(model), by_hand(adapted(saved), trainer.loss.batches, drawn(6)))


def test_fresh_models_and_search(saved: str, tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, None, coto(), model_init=lambda: adapted(saved))
    for lr in (0.01, 0.03):
        trainer.args.learning_rate = lr
        trainer.train()
        assert same(weights(trainer.model), by_hand(adapted(saved), trainer.loss.batches[-6:], drawn(6), lr=lr))
