"""Many LoRA adapters on one frozen base, ready to be trained as rows of one batch."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from coto_lab.adapters.adapter import Adapter
from coto_lab.adapters.methods.lora import scaling_of
from coto_lab.adapters.names import PREFIX, lora_keys
from coto_lab.adapters.stack import AdapterStack
from coto_lab.gating.coto import training_masks
from coto_lab.gating.grouping import Group, group_layers
from coto_lab.ground.device import default_device
from coto_lab.ground.randomness import batch_indices
from coto_lab.tasks.task import Batch, Task, to_device
from coto_lab.training.groups import parameter_groups
from coto_lab.training.recipe import Recipe


class ManyAdapters:
    """A `Trainee` of R rows: row i of every layer, of the batch and of the records belongs to recipe i.

    Args:
        task: what to train on.
        recipes: of R adapters whose updates are s·BA; they agree in method, rank, alpha, steps and batch size, and none has
            dropout.
        base: the base model; it is changed.
        starts: the adapters that the rows start from, as plain LoRA.

    Attributes:
        gates, modules: names of the gates and of the adapted modules, gate by gate.
        gate_of_module: int64 ``[n_modules]``.
        masks: which gates are open at each step, ``BoolTensor [R, T, n_gates]``.
        forward, optimizer: as in `Trainee`.
    """

    def __init__(self, task: Task, recipes: Sequence[Recipe], base: nn.Module, starts: Sequence[Adapter]):
        self.task, self.recipes, self.device, self.starts = task, recipes, default_device(), starts
        rows = AdapterStack(base.to(self.device).train(), starts[0])
        self.forward = rows.model
        groups = groups_of(rows)
        self.gates = tuple(group.gate for group in groups)
        self.modules = tuple(name for group in groups for name in group.layers)
        self.gate_of_module = torch.tensor([i for i, group in enumerate(groups) for _ in group.layers])
        self._layers = [rows.layers[rows.names.index(name)] for name in self.modules]
        towers = [group.tower for group in groups]
        self.masks = torch.stack(
            [
                training_masks(towers, recipe.schedule, total_steps=recipe.steps, seed=recipe.seed, tilt=recipe.tilt)
                for recipe in recipes
            ]
        )
        self._parameters: list[nn.Parameter] = []  # A and B of every layer, [R, ...]
        for name, layer in zip(self.modules, self._layers, strict=True):
            layer.scaling = scaling_of(starts[0].config)
            for factor, key in zip(("lora_A", "lora_B"), lora_keys(PREFIX + name), strict=True):
                start = torch.stack([adapter.tensors[key] for adapter in starts])
                setattr(layer, factor, nn.Parameter(start.to(self.device)))
                self._parameters.append(getattr(layer, factor))
        # The optimiser sees a parameter of its own for each row: a view, so that its updates are those of the stack, and
        # a gradient of None leaves the row, its decay, its moments and its step count alone.
        self._views = [[nn.Parameter(parameter.data[i]) for parameter in self._parameters] for i in range(len(recipes))]
        self._keys = [key for name in self.modules for key in lora_keys(PREFIX + name)]
        named = [dict(zip(self._keys, views, strict=True)) for views in self._views]
        self.optimizer = recipes[0].adapter_method.optimizer(parameter_groups(recipes, named))

    def open_gates(self, step: int) -> Tensor:
        """The planned masks of this step: ``BoolTensor [R, n_gates]``."""
        self._mask = self.masks[:, step]
        for layer, gate in zip(self._layers, self.gate_of_module, strict=True):
            layer.gate = self._mask[:, gate]
        return self._mask

    def batch(self, step: int) -> Batch:
        """The batches of all rows, collated as one, on the device."""
        n = self.task.size("train")
        shares = [batch_indices(n, recipe.batch_size, recipe.seed, step) for recipe in self.recipes]
        return to_device(self.task.batch("train", torch.cat(shares)), self.device)

    def random_numbers(self) -> AbstractContextManager[None]:
        """Nothing is drawn."""
        return nullcontext()

    def backward(self, loss: Tensor) -> None:
        """As torch does."""
        loss.backward()

    def mean_over_processes(self, losses: Tensor) -> Tensor:
        """The losses themselves: processes do not share rows."""
        return losses

    def keep_gradients(self, moving: Tensor) -> Tensor:
        """Give each moving row's open parameters their part of the gradients; norms float32 ``[R, n_modules]``."""
        masks = self._mask & moving[:, None]
        squares = torch.zeros(len(self.recipes), len(self.modules), device=self.device)
        for i, parameter in enumerate(self._parameters):
            if parameter.grad is None:
                continue
            module = i // 2
            squares[:, module] += parameter.grad.flatten(1).float().square().sum(1)
            is_open = masks[:, self.gate_of_module[module]].tolist()
            for views, gradient, trains in zip(self._views, parameter.grad.unbind(), is_open, strict=True):
                views[i].grad = gradient if trains else None
            parameter.grad = None
        # where, and no product: a row that diverged has gradients that are NaN
        return torch.where(masks[:, self.gate_of_module], squares.sqrt().cpu(), 0.0)

    def clip_gradients(self, row: int, max_norm: float) -> None:
        """As torch does."""
        nn.utils.clip_grad_norm_(self._views[row], max_norm)

    def adapter(self, row: int) -> Adapter:
        """A copy of the adapter of a row, on the CPU."""
        trained = {key: p.detach()[row].cpu().clone() for key, p in zip(self._keys, self._parameters, strict=True)}
        start = self.starts[row]
        adapter = Adapter(start.config, {key: trained[key] for key in start.tensors}, self.task.base)
        return self.recipes[row].adapter_method.finished(adapter, start)


def groups_of(rows: AdapterStack) -> list[Group]:
    """The gates of a stack of adapters and their layers."""
    return group_layers(rows.model, dict(zip(rows.names, rows.layers, strict=True)))
