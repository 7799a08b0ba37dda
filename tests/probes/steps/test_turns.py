"""When iterations end, by sequences of steps (letters) and backward passes (bars)."""

import pytest

from ultraslow.probes.steps import Turns
from ultraslow.probes.steps.turns import PATIENCE


def played(turns, sequence):
    """For each step whether it ended an iteration; of those that did, whether of one gradient."""
    ended, known = "", ""
    for sign in sequence:
        if sign == "|":
            turns.passes()
            continue
        turns.steps({"ABC".index(sign)})
        ended += "x" if turns.is_over else "."
        if turns.is_over:
            known += "1" if turns.has_one_gradient else "0"
            turns.end()
    return ended, known


@pytest.mark.parametrize(
    ("count", "clock", "sequence", "ended", "known"),
    [
        (1, None, "|A|A||A", "xxx", "111"),
        (2, None, "|AB|AB||AB", ".x.x.x", "111"),
        (2, None, "ABABAB", ".x.x.x", "111"),  # no backward pass is seen
        (3, None, "|ABC|ABC", "..x..x", "11"),
        # a discriminator three times, then its generator
        (2, None, "|A|A|A|B|A|A|A|B", "...x...x", "00"),
        (2, None, "|B|A|A|A|B|A|A|A", ".x..x...", "00"),
        (2, 1, "|A|A|A|B|A|A|A|B", "...x...x", "00"),
        (2, 0, "|A|A|A|B|A", "xxx.x", "1110"),
        # one that comes later, or only now and then, is not waited for where another is the clock
        (2, 0, "|A|A|AB|AB|A", "xxx.x.x", "11111"),
        (2, 1, "|AB|AB|B", ".x.xx", "111"),
        # once all have stepped together, one that is left out has skipped its step
        (2, None, "|AB|B|AB|AB", ".x..x.x", "111"),
        (2, None, "|B|AB|AB|AB", ".x..x.x", "011"),
    ],
)
def test_iterations_end_when_each_has_stepped_or_with_the_clock(
    count, clock, sequence, ended, known
):
    assert played(Turns(count, clock=clock), sequence) == (ended, known)


def test_one_that_has_stopped_is_waited_for_no_longer():
    turns = Turns(2)
    assert played(turns, "|AB|AB")[0] == ".x.x"
    stopped = [(turns.passes(), turns.steps({0})) for _ in range(PATIENCE)]
    assert not any(found for found, _ in stopped)
    assert turns.passes() == {1}
    assert played(turns, "A|A|A")[0] == "xxx"
    # and again when it comes back: one iteration ends too early, none is lost
    assert played(turns, "|AB|AB|AB")[0] == "x..x.x"


def test_what_waits_is_named():
    turns = Turns(2)
    for _ in range(PATIENCE):
        assert not turns.passes()
        turns.steps({0})
    turns.passes()
    assert turns.waiting == PATIENCE
    assert turns.lacking == {1}


def test_a_state_amid_an_iteration_is_gone_on_with():
    turns = Turns(2, stepped=[0])
    assert turns.stepped == {0}
    assert played(turns, "|B|A|B") == ("x.x", "00")
