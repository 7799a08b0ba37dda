"""Fifty kills at random moments, of the recording process and of another one."""

import pytest
from faults import assert_at_most_one_flush_lost, kills

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("processes", "victim"), [(1, 0), (2, 0), (2, 1)])
def test_fifty_kills(tmp_path, processes, victim):
    outcomes = kills(tmp_path, trials=50, processes=processes, victim=victim, seed=2)
    assert len(outcomes) == 50
    assert sum(recorded > 0 for _, recorded in outcomes) > 25
    assert_at_most_one_flush_lost(outcomes, processes=processes)
