from __future__ import annotations

import pytest
import torch

from coto_lab.ground.randomness import OwnRandomNumbers, batch_indices


@pytest.mark.parametrize(("n", "batch_size"), [(10, 4), (10, 10), (3, 7)])
def test_batches_walk_through_one_permutation_after_another(n: int, batch_size: int) -> None:
    drawn = torch.cat([batch_indices(n, batch_size, seed=5, step=t) for t in range(2 * n)])
    epochs = drawn.reshape(-1, n)  # 2n batches are a whole number of epochs
    assert all(sorted(epoch.tolist()) == list(range(n)) for epoch in epochs)
    assert len({tuple(epoch.tolist()) for epoch in epochs}) > 1
    again = torch.cat([batch_indices(n, batch_size, seed=5, step=t) for t in range(2 * n)])
    other = torch.cat([batch_indices(n, batch_size, seed=6, step=t) for t in range(2 * n)])
    assert torch.equal(drawn, again) and not torch.equal(drawn, other)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda state: [*state, state[0]], "2 random states for 1 generators"),
        (lambda state: [], "0 random states for 1 generators"),
        (lambda state: [state[0][:16]], "size 5056 but found .* 16"),
        (lambda state: [torch.zeros_like(state[0])], "mt19937"),
    ],
)
def test_states_that_do_not_fit_leave_the_global_random_numbers(spoil: object, message: str) -> None:
    own = OwnRandomNumbers(0, torch.device("cpu"))
    own.state = spoil(own.state)
    before = torch.get_rng_state()
    with pytest.raises((ValueError, RuntimeError), match=message), own.active():
        pytest.fail("the block must not run")
    assert torch.equal(torch.get_rng_state(), before)


def test_a_generator_that_refuses_its_state_leaves_the_others() -> None:
    class Refuses:
        state = "old"

        def get_rng_state(self) -> str:
            return self.state

        def set_rng_state(self, state: str) -> None:
            if state != "old":
                raise RuntimeError("no such state")

    own = OwnRandomNumbers(0, torch.device("cpu"))
    own._modules.append(Refuses())
    own.state = [*own.state, "new"]
    before = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="no such state"), own.active():
        pytest.fail("the block must not run")
    assert torch.equal(torch.get_rng_state(), before)
