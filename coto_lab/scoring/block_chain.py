"""A model cut at its transformer blocks, so that a part of it can be run without the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from jaxtyping import Shaped
from torch import Tensor, nn


class NotAChain(Exception):
    """This model does not hand one hidden state through its blocks, one after the other, once each."""


class _Entered(Exception):
    """The model has called its last block; what comes after is not wanted yet."""


class BlockChain:
    """The blocks of a model, each to be run by itself: `enter`, then `block` by `block`, then `leave`.

    What a model does before its first block and after its last one stays the model's own code: it is run as a whole, with
    the blocks replaced for the moment by functions that pass the hidden state on.

    Args:
        blocks: the model's stack of blocks, e.g. ``model.vit.layers``.

    Raises:
        NotAChain: a block stands in the stack twice.

    Source: the cut is ours; replacing ``forward`` for the moment is what accelerate's hooks do.
    """

    def __init__(self, blocks: nn.ModuleList):
        if len(set(blocks)) < len(blocks):
            raise NotAChain("the same block stands in the stack twice.")
        self.blocks = blocks
        self._extras: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def enter(self, run: Callable[[], Any]) -> Shaped[Tensor, "n ..."]:
        """The hidden state before the first block, ``[n, ...]``; what else the model gives its blocks is kept for `block`.

        Args:
            run: runs the model on a batch.

        Raises:
            NotAChain: a block is not called exactly once and in order, with the hidden state as its first argument; the
                model needs more of a block than a hidden state.
        """
        states: list[Tensor] = []
        extras: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

        def receive(index: int) -> Callable[..., Tensor]:
            def forward(*args: Any, **kwargs: Any) -> Tensor:
                if index != len(extras) or not args or not isinstance(args[0], Tensor):
                    raise NotAChain(f"block {index} was called as number {len(extras)}, or without a hidden state.")
                if states and args[0].shape != states[0].shape:  # the model takes it for a tuple, and unpacks it
                    raise NotAChain(f"block {index} was given another shape than block 0.")
                states.append(args[0])
                extras.append((args[1:], kwargs))
                if len(extras) == len(self.blocks):
                    raise _Entered
                return args[0]

            return forward

        with self._replaced(receive):
            try:
                run()
            except _Entered:
                self._extras = extras
                return states[0]
            except NotAChain:
                raise
            except Exception as error:  # such as unpacking a hidden state, where the block would have returned a tuple
                raise NotAChain(f"the model does not run without its blocks: {error}") from error
        raise NotAChain(f"only {len(extras)} of {len(self.blocks)} blocks were called.")

    def block(self, index: int, hidden: Shaped[Tensor, "*shape"]) -> Shaped[Tensor, "*shape"]:
        """What block ``index`` makes of a hidden state, with the other arguments that it had when the model was entered.

        Raises:
            NotAChain: it does not return a hidden state of the same shape.
        """
        args, kwargs = self._extras[index]
        output = self.blocks[index](hidden, *args, **kwargs)
        if not isinstance(output, Tensor) or output.shape != hidden.shape:
            raise NotAChain(f"block {index} returned a {type(output).__name__}, not one hidden state.")
        return output

    def leave(self, run: Callable[[], Any], hidden: Shaped[Tensor, "n ..."]) -> Any:
        """What ``run`` returns when the last block gives ``hidden``."""

        def skip(index: int) -> Callable[..., Tensor]:
            return lambda state, *args, **kwargs: hidden if index == len(self.blocks) - 1 else state

        with self._replaced(skip):
            return run()

    @contextmanager
    def _replaced(self, forward: Callable[[int], Callable[..., Tensor]]) -> Iterator[None]:
        own = [vars(block).get("forward") for block in self.blocks]  # what accelerate's hooks put there
        for index, block in enumerate(self.blocks):
            block.forward = forward(index)
        try:
            yield
        finally:
            for block, before in zip(self.blocks, own, strict=True):
                if before is None:
                    del block.forward  # the class's is back
                else:
                    block.forward = before
