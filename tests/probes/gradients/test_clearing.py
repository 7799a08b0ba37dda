"""Who clears gradients before they are used again, of two optimizers."""

import pytest
import torch

from ultraslow.probes.gradients.clearing import ADDED_UP, KEPT, Clearing


@pytest.fixture
def weights():
    return [torch.nn.Parameter(torch.ones(2)) for _ in range(4)]


@pytest.fixture
def clearing(weights):
    """The first two weights are the first optimizer's, the others the second's."""
    made = Clearing(weights)
    made.owners = [(0, 1), (2, 3)]
    return made


def update(clearing, weights, *passes, step=(0, 1)):
    """Passes that reach some weights each, and steps; what was found of the update."""
    for number, reached in enumerate(passes):
        clearing.look(first=number == 0)
        sum(weights[index].sum() for index in reached).backward()
    clearing.step = step
    return clearing.take(seen=True)


def clear(weights, *, zero=False):
    for weight in weights:
        if weight.grad is not None:
            weight.grad = torch.zeros_like(weight.grad) if zero else None


def test_all_that_are_cleared_are_known(clearing, weights):
    for _ in range(40):
        assert update(clearing, weights, range(4)) == ("", [])
        clear(weights)


@pytest.mark.parametrize("whose", [slice(2), slice(2, 4), slice(0)])
def test_what_one_does_not_clear_it_uses_again(clearing, weights, whose):
    update(clearing, weights, range(4))
    for _ in range(40):
        clear(weights[whose])
        assert update(clearing, weights, range(4)) == (KEPT, [])


@pytest.mark.parametrize("zero", [True, False])
def test_gradients_may_be_cleared_late(clearing, weights, zero):
    """Those of the second are before its own pass, when the first has made one."""
    for _ in range(40):
        clear(weights[:2], zero=zero)
        clearing.look(first=True)
        sum(weight.sum() for weight in weights[:2]).backward()
        clear(weights[2:], zero=zero)
        clearing.look(first=False)
        sum(weight.sum() for weight in weights[2:]).backward()
        assert clearing.take(seen=True) == ("", [])


def test_what_one_has_left_that_does_not_step_is_not_used(clearing, weights):
    update(clearing, weights, range(4))
    for _ in range(40):
        clear(weights[:2])
        assert update(clearing, weights, (0, 1), step=(0,)) == ("", [2, 3])


def test_what_adds_up_until_one_steps_is_no_one_gradient(clearing, weights):
    """The second steps at every third iteration of the first, and clears then."""
    found = []
    for number in range(9):
        rare = number % 3 == 2
        found.append(update(clearing, weights, range(4), step=(0, 1) if rare else (0,))[0])
        clear(weights if rare else weights[:2])
    assert found == ["", ADDED_UP, ADDED_UP] * 3
