import numpy as np
import pytest
from test_writer import window_updates

from probes.ledger import Ledger
from probes.resume import State, from_plain, to_plain
from probes.updates import Measurement, empty_window

ONE = np.ones(1)


def measured(iteration, step_sq):
    values = {"squares": np.array([[0.5], [2.0]]), "step_sq": np.array([step_sq])}
    return Measurement(iteration, values, wall_time=3.0 * iteration, probe_seconds=0.5)


def begun():
    return Ledger(State(0, empty_window(1, 0.1), step_sq=np.zeros(1)), ONE)


def test_records_and_open_window_go_on_from_a_state():
    """Two parts with a state between them give the record that one part gives."""
    whole = begun()
    (expected,) = whole.enter(window_updates(5), [measured(5, 7.0)])
    first = begun()
    assert first.enter(window_updates(2), []) == []
    state = first.state(measured(2, 3.0), skipped=1, waiting=[])
    assert (state.iteration, state.skipped, state.wall_time) == (2, 1, 6.0)
    assert state.distance_sq == 0.5
    for ledger in (first, Ledger(from_plain(to_plain(state), 1), ONE)):
        (record,) = ledger.enter(window_updates(3), [measured(5, 4.0)])
        assert record.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_array_equal(record[name], value, err_msg=name)


def test_the_path_is_carried_over_several_states_and_given_once():
    ledger = begun()
    ledger.enter(window_updates(1), [])
    ledger.state(measured(1, 3.0), skipped=0, waiting=[])
    assert ledger.state(measured(1, 4.0), skipped=0, waiting=[]).step_sq == pytest.approx(7.0)
    first, second = ledger.enter(window_updates(2), [measured(2, 1.0), measured(3, 1.0)])
    assert first["step_sq"] == pytest.approx(8.0)
    assert second["step_sq"] == pytest.approx(1.0)
