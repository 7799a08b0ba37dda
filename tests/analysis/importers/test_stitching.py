import numpy as np
import pytest

from ultraslow.analysis.importers.sheet import Sheet
from ultraslow.analysis.importers.stitching import stitched
from ultraslow.diffusion.recording import RecordError


def read(steps, values, restarted=False, followed="", noisy=False, **others):
    cells = {"step": list(map(str, steps)), "d": list(map(str, values)), **others}
    sheet = Sheet("log.csv", "log", "0" * 64, "CSV", cells, range(2, len(values) + 2))
    rows = np.arange(len(values))
    options = {"restarted": restarted, "followed": followed, "noisy": noisy}
    return stitched(sheet, rows, ["d"], iteration="step", **options)


def test_a_log_that_goes_back_counts_from_there():
    found = read([0, 10, 20, 30, 20, 30, 40], [0, 1, 2, 3, 22, 33, 44])
    assert found.iteration.tolist() == [0, 10, 20, 30, 40]
    assert found.columns["d"].values.tolist() == [0, 1, 22, 33, 44]
    ((at, said),) = found.events
    assert (at, said[:36]) == (20, "its log goes back here from 30 (line")
    assert found.left_out == {"of a part that a later one takes the place of": 2}


def test_it_may_go_back_twice_and_behind_the_first_time():
    found = read([0, 1, 2, 3, 2, 3, 4, 1, 2], [0, 1, 2, 3, 12, 13, 14, 21, 22])
    assert found.iteration.tolist() == [0, 1, 2]
    assert found.columns["d"].values.tolist() == [0, 21, 22]


def test_steps_that_a_resumed_run_did_not_log_again_are_left_out():
    found = read([0, 10, 20, 30, 15, 35], [0, 1, 2, 3, 4, 5])
    assert found.iteration.tolist() == [0, 10, 15, 35]


def test_a_log_that_begins_anew_may_be_two_runs():
    steps, values = [0, 1, 2, 3, 0, 1, 2], [0, 1, 2, 3, 0, 11, 12]
    with pytest.raises(
        RecordError,
        match=r"steps begin anew, with 0 after 3 at line 6.*"
        r"one run started again: --restarted",
    ):
        read(steps, values)
    with pytest.raises(RecordError, match="--by 'seed'"):
        read(steps, values, seed=list("1111222"))
    found = read(steps, values, restarted=True)
    assert found.columns["d"].values.tolist() == [0, 11, 12]


def test_rows_in_no_order_are_sorted():
    order = np.random.default_rng(0).permutation(100)
    found = read(order, 2 * order)
    assert found.iteration.tolist() == list(range(100))
    assert found.columns["d"].values.tolist() == list(range(0, 200, 2))
    assert "were sorted" in found.events[0][1]


def test_rows_of_one_step_are_joined_where_they_agree():
    found = read([1, 1, 2, 2], ["", 5, 7, 7])
    assert found.columns["d"].values.tolist() == [5, 7]
    with pytest.raises(RecordError, match=r"line 2 and line 3 are both of step 1, with 5 and 6"):
        read([1, 1, 2], [5, 6, 7])


def test_what_is_no_step_says_where():
    for bad, where in ((1.5, "line 3"), (-1, "line 3"), ("inf", "line 3"), ("x", "line 3")):
        with pytest.raises(RecordError, match=f"{where}, column 'step': found '{bad}', expected"):
            read([0, bad, 2], [0, 1, 2])
    found = read(["0", "", "2.0"], [0, 1, 2])
    assert found.iteration.tolist() == [0, 2]
    assert found.left_out == {"without a number in 'step'": 1}


def test_a_later_part_that_ends_before_the_earlier_one_is_told():
    found = read([10, 20, 30, 40, 20, 30], [1, 2, 3, 4, 2.1, 3.1], followed="d")
    assert found.iteration.tolist() == [10, 20, 30]
    ((_, said),) = found.events
    assert said.endswith(
        "from 40 (line 6), as of a resumed run; the later rows count, which end at 30"
    )


def test_a_distance_that_jumps_where_steps_go_back_is_of_two_runs():
    steps = [*range(10, 101, 10), *range(13, 94, 10)]
    curve = np.sqrt(np.array(steps, dtype=float))
    with pytest.raises(
        RecordError,
        match=r"steps go back from 100 to 13, where 'd' jumps from 3\.55\d* to 7\.21\d* at line 12"
        r": "
        r"two runs.*--restarted",
    ):
        read(steps, np.where(np.arange(19) < 10, curve, 2 * curve), followed="d")
    goes_on = read(steps, np.where(np.arange(19) < 10, curve, 1.1 * curve), followed="d")
    assert goes_on.iteration.tolist() == [10, *range(13, 94, 10)]
    last = read(steps, np.where(np.arange(19) < 10, curve, 2 * curve), True, "d")
    assert last.iteration.tolist() == [10, *range(13, 94, 10)]


def test_a_second_run_that_begins_behind_a_common_start_begins_anew():
    steps = [0, 10, 20, 30, 10, 20, 30]
    with pytest.raises(RecordError, match="steps begin anew, with 10 after 30 at line 6"):
        read(steps, [0, 1, 2, 3, 1, 2, 3], followed="d")


def test_two_runs_whose_rows_take_turns_are_refused_and_one_that_wavers_is_not():
    steps = np.arange(10, 310, 5)
    curve = steps**0.4
    by_turns = np.where(np.arange(60) % 2, 2 * curve, curve)
    with pytest.raises(RecordError, match="'d': goes up and down by turns.*two runs"):
        read(steps, by_turns, followed="d")
    rng = np.random.default_rng(3)
    edge = curve * (1 + 0.05 * (-1.0) ** np.arange(60))  # as at the edge of stability
    for one in (curve, edge, curve * np.exp(0.2 * rng.standard_normal(60)), 1 + 0 * curve):
        assert read(steps, one, followed="d").iteration.size == 60


def test_a_loss_that_jumps_where_steps_go_back_is_of_two_runs():
    steps = np.array([*range(1, 100), *range(50, 150)])
    later = np.arange(steps.size) >= 99
    rng = np.random.default_rng(2)
    loss = np.clip(2 - steps / 100, 0.4, None) * np.exp(0.2 * rng.standard_normal(steps.size))
    with pytest.raises(
        RecordError,
        match=r"back from 99 to 50, where 'd' jumps from 1\.2\d* to 4\.2\d* \(medians where both "
        r"have it\) at line 101: two runs.*--restarted",
    ):
        read(steps, np.where(later, loss + 3, loss), followed="d", noisy=True)
    goes_on = read(steps, loss, followed="d", noisy=True)
    assert goes_on.iteration.tolist() == list(range(1, 150))
    assert goes_on.events[0][1].endswith("the later rows count")
    negative = read(steps, -loss, followed="d", noisy=True)
    assert negative.iteration.tolist() == list(range(1, 150))
    last = read(steps, np.where(later, loss + 3, loss), True, "d", True)
    assert last.iteration.tolist() == list(range(1, 150))


def test_parts_that_cannot_be_compared_are_told():
    steps, loss = [10, 20, 30, 20, 30, 40], [3.0, 2.0, 1.5, 9.0, 9.0, 9.0]
    ((_, few),) = read(steps, loss, followed="d", noisy=True).events
    told = "; too few of 'd' stand on both sides to tell whether they are of one run"
    assert few.endswith(told)
    ((_, none),) = read(steps, loss).events
    assert none.endswith("; nothing in it tells whether they are of one run")
