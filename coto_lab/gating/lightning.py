"""CoTo inside an unmodified ``lightning.pytorch.Trainer``."""

from __future__ import annotations

import math
import os
from typing import Any

from coto_lab.gating.checkpointing import checkpoints_reentrantly
from coto_lab.gating.coto import CoTo
from coto_lab.gating.grouping import By
from coto_lab.gating.ranks import check_agreement
from coto_lab.gating.schedules import Linear, Schedule, check_schedule
from coto_lab.gating.training_gates import TrainingGates, begun, check_optimizers
from coto_lab.ground.numbers import MAX_SEED, whole_number

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
    from lightning.pytorch.utilities import rank_zero_info
except ImportError as error:
    raise ImportError("CoToLightning is a callback for Lightning, which is not installed: pip install lightning") from error


class CoToLightning(Callback):
    """Switches adapters on progressively while a Lightning Trainer trains::

        from lightning.pytorch import Trainer
        from coto_lab.gating.lightning import CoToLightning

        trainer = Trainer(max_epochs=3, callbacks=[CoToLightning()])
        trainer.fit(module, batches)

    The adapters are looked for in the LightningModule, for instance in ``self.model = get_peft_model(...)``. Gates are drawn
    once per optimiser step, so the micro-batches of ``accumulate_grad_batches`` share them. They are a pure function of
    (seed, global step), and a checkpoint holds the seed, so a resumed training goes on with the gates of the uninterrupted
    one. Outside of training batches all gates are open: in validation and prediction, and in other callbacks.

    p(t) runs over the steps that the trainer expects (``trainer.estimated_stepping_batches``). At the start, one line says the
    schedule. The values ``coto_p``, ``coto_open`` and ``coto_open_share`` (see `CoToCallback`) are logged by
    ``LightningModule.log_dict``, so every logger gets them, and any callback may monitor them.

    The gates are detached when training ends, also if it ends in an exception.

    The callback is for the package ``lightning``. ``pytorch_lightning`` has a Trainer of its own, which takes only callbacks of
    its own.

    Args:
        schedule: activation probability over progress; by default the paper's linear ramp over 75% of training.
        seed: seed of the gates; with None it is that of the checkpoint, of ``seed_everything``, or 0, whichever is found first.
        by: ``"block"`` (the paper), or another value that `attach_gates` takes.

    Attributes:
        coto: the object that draws the gates; None before training begins. ``coto.masks()`` gives the masks of all steps, also
            after training.

    Raises:
        ValueError: at once, if ``schedule`` is not a schedule or ``seed`` is not a seed. When training begins, if
            `attach_gates` raises, if the trainer has two such callbacks, a strategy in which dropped adapters fail, no last
            step, or no optimiser that holds the adapters, if the module optimises by hand, if adapter layers are in evaluation
            mode, or if ranks would draw different gates (`check_agreement`).
    """

    def __init__(self, schedule: Schedule | None = None, seed: int | None = None, by: By = "block"):
        self.schedule = check_schedule(Linear() if schedule is None else schedule)
        self.seed = None if seed is None else whole_number("seed", seed, 0, MAX_SEED)
        self.by = by
        self.coto: CoTo | None = None
        self._gates: TrainingGates | None = None
        self._saved_seed: int | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        _check_trainer(trainer, pl_module)
        check_optimizers(trainer.optimizers, pl_module)
        self._gates = TrainingGates(
            pl_module,
            self.by,
            self.schedule,
            total_steps=_total_steps(trainer),
            seed=self._seed(),
            step=trainer.global_step,
        )
        self.coto, self._saved_seed = self._gates.coto, None
        check_agreement(self.coto)
        if asleep := [name for name, layer in self._gates.layers.items() if not layer.training]:
            raise ValueError(
                f"{len(asleep)} adapter layers are in evaluation mode (first {asleep[0]!r}), and Lightning keeps the mode in "
                "which it finds a module, so no adapter would be dropped. Call train() on the model before trainer.fit."
            )
        self._gates.open_all()
        rank_zero_info(str(self._gates))

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        begun(self._gates).go_to(trainer.global_step)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        gates = begun(self._gates)
        gates.open_all()
        pl_module.log_dict(gates.logs())

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._detach()
        self._saved_seed = None  # a checkpoint that is only validated or tested says nothing of the next training

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._detach()

    def state_dict(self) -> dict[str, Any]:
        return {} if self.coto is None else {"seed": self.coto.seed}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._saved_seed = whole_number("seed", state_dict.get("seed"), 0, MAX_SEED)

    def _detach(self) -> None:
        if self._gates is not None:
            self._gates.detach()
            self._gates = None

    def _seed(self) -> int:
        if self.seed is not None:
            return self.seed
        return int(os.environ.get("PL_GLOBAL_SEED", 0)) if self._saved_seed is None else self._saved_seed


def _check_trainer(trainer: Trainer, module: LightningModule) -> None:
    """Raise ValueError where gates could not follow the training, or the training would fail with them."""
    if sum(isinstance(callback, CoToLightning) for callback in trainer.callbacks) > 1:
        raise ValueError("callbacks has more than one CoToLightning, and each would replace the gates of the other; keep one.")
    if not module.automatic_optimization:
        raise ValueError(
            "automatic_optimization=False: Lightning does not say which batches make a step. Leave this callback out, and in "
            "the module call attach_gates and CoTo as in a loop of your own, with coto.step() after each optimizer.step()."
        )
    model = trainer.strategy.model  # wrapped, if the strategy wraps it
    if type(trainer.strategy).__name__ == "ModelParallelStrategy":  # of Lightning 2.4; it shards the layers themselves
        raise ValueError(
            "strategy=ModelParallelStrategy: dropped adapters have not been tried in it. Train with "
            "Trainer(strategy='ddp_find_unused_parameters_true') or in one process; for FSDP2, in a loop of your own."
        )
    if model is module:
        return
    if not getattr(model, "find_unused_parameters", False) or model.static_graph:
        raise ValueError(
            f"strategy={type(trainer.strategy).__name__}: dropped adapters get no gradient, so it must look for unused "
            "parameters in every step. Set Trainer(strategy='ddp_find_unused_parameters_true'), or train in one process."
        )
    if checkpoints_reentrantly(module):
        raise ValueError(
            "DistributedDataParallel that looks for unused parameters, as dropped adapters need it, fails with reentrant "
            "gradient checkpointing. Use the other kind: gradient_checkpointing_enable({'use_reentrant': False})."
        )


def _total_steps(trainer: Trainer) -> int:
    steps = trainer.estimated_stepping_batches
    if not 0 < steps < math.inf:
        raise ValueError(
            f"max_steps={trainer.max_steps}: the trainer does not know how many steps it will take, so p(t) is not defined. "
            "Set Trainer(max_steps=...)."
        )
    return int(steps)
