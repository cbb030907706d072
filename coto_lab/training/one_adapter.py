"""One adapter of any PEFT method, ready to be trained; under `accelerate launch`, by several processes together."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import timedelta
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING

import torch
from jaxtyping import Int64
from torch import Tensor, nn

from coto_lab.adapters.adapter import Adapter
from coto_lab.gating.coto import CoTo
from coto_lab.gating.gates import attach_gates
from coto_lab.gating.ranks import check_agreement, check_wrapped
from coto_lab.ground.randomness import OwnRandomNumbers, batch_indices
from coto_lab.tasks.check import fresh_base, try_task
from coto_lab.tasks.task import Batch, Task, modules_to_save_of, to_device
from coto_lab.training.dropped import warn_of_dropped_blocks, without_word_of_start
from coto_lab.training.groups import parameter_groups
from coto_lab.training.history import gate_norms
from coto_lab.training.recipe import Recipe

if TYPE_CHECKING:
    from accelerate import Accelerator


def check_shares(recipe: Recipe, n_processes: int) -> None:
    """Raise ValueError where the processes cannot share a batch evenly: DDP averages their means, so shares must be equal."""
    if recipe.batch_size % n_processes:
        raise ValueError(
            f"batch_size={recipe.batch_size} cannot be shared evenly by {n_processes} processes; "
            f"give a multiple of {n_processes}."
        )


class OneAdapter:
    """A PEFT model with gates, its optimiser and its random numbers; a `Trainee` of one row.

    New layers of the task (``modules_to_save``) train in every step, whatever the gates; their gradients are not recorded.

    Attributes:
        start: the adapter at its beginning.
        model: the PEFT model.
        gates, coto: its gates, and what draws them.
        forward, optimizer: as accelerate prepared them.
        accelerator: from accelerate.
        rng: the training's own random numbers.

    Raises:
        ValueError: FSDP or DeepSpeed; a batch size that the processes cannot share evenly; processes with another recipe, task
            or gates; an accelerator that wraps the model in a DistributedDataParallel in which dropped adapters fail; fp16
            mixed precision; a task whose loss or measure does not fit (`coto_lab.tasks.check.try_task`).
    """

    def __init__(self, task: Task, recipe: Recipe, accelerator: Accelerator | None = None):
        from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs
        from accelerate.utils import DistributedType

        self.accelerator = accelerator or Accelerator(
            kwargs_handlers=[
                # A dropped adapter gets no gradient, so DistributedDataParallel has to look for the unused ones.
                DistributedDataParallelKwargs(find_unused_parameters=True),
                # A process that ends is noticed at once; this limit is for a machine that falls silent. It is NCCL's own.
                InitProcessGroupKwargs(timeout=timedelta(minutes=10)),
            ]
        )
        if self.accelerator.mixed_precision == "fp16":  # its loss is scaled, and so would be the recorded gradients
            raise ValueError("fp16 mixed precision is not supported: take mixed_precision='bf16', or full precision ('no').")
        if self.accelerator.distributed_type in (DistributedType.FSDP, DistributedType.DEEPSPEED):
            raise ValueError(
                f"distributed_type={self.accelerator.distributed_type}: this loop trains in one process, or in several with "
                "DistributedDataParallel. Leave FSDP and DeepSpeed out of accelerate's configuration, or use a Trainer with "
                "CoToCallback."
            )
        check_shares(recipe, self.accelerator.num_processes)
        self.task, self.recipe = task, recipe
        self.rng = OwnRandomNumbers(recipe.seed, self.accelerator.device)
        with self.rng.active():
            model = recipe.put_on(fresh_base(task), task.target_modules, modules_to_save_of(task))
        try_task(task, model, "train")
        self.start = Adapter.from_model(model)
        self.model = model.train()
        warn_of_dropped_blocks([recipe])
        with without_word_of_start():
            self.gates = attach_gates(model)
        self.coto = CoTo(self.gates, recipe.schedule, total_steps=recipe.steps, seed=recipe.seed, tilt=recipe.tilt)
        # The schedule, which may be any function, is compared as a part of ``coto``.
        settings = {f"recipe.{name}": value for name, value in vars(recipe).items() if name != "schedule"}
        check_agreement(self.coto, task=task.name, base=task.base, **settings)
        self._dropouts = [m for layer in self.gates.layers for m in layer.modules() if isinstance(m, nn.Dropout)]
        self._module_parameters = [[p for p in layer.parameters() if p.requires_grad] for layer in self.gates.layers]
        trainable = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
        optimizer = recipe.adapter_method.optimizer(parameter_groups([recipe], [trainable]))
        if any("row" not in group for group in optimizer.param_groups):
            raise ValueError(
                f"the optimiser of method {recipe.method!r} has parameter groups without the entry 'row' of the group that it "
                "was given: keep all entries in every part, since the learning rate of each is set at every step."
            )
        self.forward, self.optimizer = self.accelerator.prepare(model, optimizer)
        check_wrapped(self.forward)

    def open_gates(self, step: int) -> Tensor:
        """Draw and set the gates, and the dropout of this step: ``BoolTensor [1, n_gates]``."""
        for dropout in self._dropouts:
            dropout.p = self.recipe.dropout_rate(step)
        return self.coto.go_to(step)[None]

    @cached_property
    def first_batch(self) -> str:
        """The SHA-256 of the batch of step 0, that of all processes together: it tells a training from one on other data."""
        digest = sha256()
        for name, column in sorted(self.task.batch("train", self._indices(0)).items()):
            digest.update(f"{name} {column.dtype} {list(column.shape)} ".encode())
            digest.update(column.contiguous().flatten().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def batch(self, step: int) -> Batch:
        """This process's share of the batch, on the device."""
        indices = self._indices(step)
        share = indices[self.accelerator.process_index :: self.accelerator.num_processes]
        return to_device(self.task.batch("train", share), self.accelerator.device)

    def random_numbers(self) -> AbstractContextManager[None]:
        """Within it, torch's global random numbers are this training's own."""
        return self.rng.active()

    def backward(self, loss: Tensor) -> None:
        """By accelerate."""
        self.accelerator.backward(loss)

    def mean_over_processes(self, losses: Tensor) -> Tensor:
        """The mean of the processes' losses: ``[1]``."""
        return self.accelerator.reduce(losses, "mean")

    def keep_gradients(self, moving: Tensor) -> Tensor:
        """All gradients or none; norms float32 ``[1, n_modules]``."""
        if not moving.all():
            self.optimizer.zero_grad()
            return torch.zeros(1, len(self._module_parameters))
        owners = [i for i, parameters in enumerate(self._module_parameters) for p in parameters if p.grad is not None]
        gradients = [p.grad for parameters in self._module_parameters for p in parameters if p.grad is not None]
        norms = torch.stack(torch._foreach_norm(gradients)).float().cpu()
        return gate_norms(norms, torch.tensor(owners), len(self._module_parameters))[None]

    def clip_gradients(self, row: int, max_norm: float) -> None:
        """By accelerate."""
        self.accelerator.clip_grad_norm_(self.model.parameters(), max_norm)

    def _indices(self, step: int) -> Int64[Tensor, " n"]:
        return batch_indices(self.task.size("train"), self.recipe.batch_size, self.recipe.seed, step)
