"""Fifty kills at random moments, of the recording process and of another one."""

import pytest
from faults import assert_at_most_one_flush_lost, chains, kills

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("processes", "victim"), [(1, 0), (2, 0), (2, 1)])
def test_fifty_kills(tmp_path, processes, victim):
    outcomes = kills(tmp_path, trials=50, processes=processes, victim=victim, seed=2)
    assert len(outcomes) == 50
    assert sum(recorded > 0 for _, recorded in outcomes) > 25
    assert_at_most_one_flush_lost(outcomes, processes=processes)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("processes", [1, 2])
def test_chains_of_killed_runs_equal_one_that_nobody_has_killed(tmp_path, processes):
    told = chains(tmp_path, count=30, processes=processes, seed=3)
    assert told["faults"] == []
    assert sum(told["kills"].values()) > 90
    assert min(told["kills"][phase] for phase in ("attaching", "training", "closing")) > 10
