from __future__ import annotations

import torch
from torch import nn

from coto_lab.tasks.nearest_class import SCALE, NearestClass, mean_over_tokens


class Lookup(nn.Module):
    """Token t has the state t of a table."""

    def __init__(self, table: torch.Tensor):
        super().__init__()
        self.table = nn.Parameter(table)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> object:
        return type("Output", (), {"last_hidden_state": self.table[input_ids]})()


def test_a_logit_is_the_scaled_cosine_of_the_mean_state_and_the_class() -> None:
    table = torch.tensor([[9.0, 9.0], [1.0, 0.0], [0.0, 1.0]])  # token 0 is padding
    vectors = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    task = NearestClass("lookup", "table", lambda: Lookup(table), [], [], ("x", "y"), ("q",), vectors=vectors)  # type: ignore[arg-type]
    batch = {"input_ids": torch.tensor([[1, 0, 0], [1, 1, 2]]), "attention_mask": torch.tensor([[1, 0, 0], [1, 1, 1]])}
    expected = SCALE * torch.tensor([[1.0, 0.0], [2 / 5**0.5, 1 / 5**0.5]])  # the mean of (1, 0), (1, 0), (0, 1) is (2/3, 1/3)
    assert torch.allclose(task.predict(task.load_base(), batch | {"labels": torch.tensor([0, 1])}), expected)


def test_the_mean_leaves_padding_out_and_has_length_1() -> None:
    states = torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(4, 5, dtype=torch.int64)
    mask[:, 3:] = 0
    found = mean_over_tokens(states, mask)
    assert torch.allclose(found.norm(dim=-1), torch.ones(4))
    assert torch.allclose(found, torch.nn.functional.normalize(states[:, :3].mean(1), dim=-1))
