"""What a dropped block computes in a training by a recipe: the pre-trained function, unless the method rewrites the base."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from coto_lab.ground.caller import warn_user
from coto_lab.training.recipe import Recipe


@contextmanager
def without_word_of_start() -> Iterator[None]:
    """Within it, nobody says that a start rewrote the base: whoever enters it has called `warn_of_dropped_blocks`."""
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="adapter .* was initialised with .*, which rewrites the base|method .* moves a part of the base"
        )
        yield


def warn_of_dropped_blocks(recipes: Sequence[Recipe]) -> None:
    """One UserWarning if any of the recipes drops blocks that then do not compute the pre-trained function."""
    if names := sorted({repr(r.adapter_method.name) for r in recipes if r.adapter_method.rewrites_base and _drops(r)}):
        warn_user(
            f"method {' or '.join(names)} moves a part of the base's weights into the adapter at its start: in this training a "
            "dropped block does not compute the pre-trained function, as the published CoTo assumes. LoRA and rsLoRA leave the "
            "base as it is."
        )


def _drops(recipe: Recipe) -> bool:
    """Whether a block can be dropped in any of the steps."""
    return any(recipe.schedule(step / recipe.steps) < 1 for step in range(recipe.steps))
