"""What models without a ``forward`` are put together from: names, nesting and classes are all that blocks are found by."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

D = 8


class Whole(nn.Module):
    """A module that holds its arguments, in their order."""

    def __init__(self, **parts: nn.Module):
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)


class Attention(Whole): ...


class MLP(Whole): ...


class Block(Whole): ...


class FeedForward(Whole): ...


class Encoder(Whole): ...


class Model(Whole): ...


def linear() -> nn.Linear:
    return nn.Linear(D, D)


def conv() -> nn.Conv2d:
    return nn.Conv2d(D, D, 1)


def listed(make: Callable[[], nn.Module], n: int) -> nn.ModuleList:
    return nn.ModuleList(make() for _ in range(n))


def chained(make: Callable[[], nn.Module], n: int) -> nn.Sequential:
    return nn.Sequential(*(make() for _ in range(n)))


def plain_block() -> nn.Module:
    return Block(norm1=nn.LayerNorm(D), attn=Attention(qkv=linear(), proj=linear()), mlp=MLP(fc1=linear(), fc2=linear()))
