import numpy as np
import pytest
import xarray as xr

from ultraslow.analysis.growth import status
from ultraslow.analysis.growth.rule import (
    DISQUALIFYING,
    mostly_left_out,
    shortage,
    told_apart,
    usable,
)


def fits(statuses, *, grown=3.5):
    """Fits of runs with these statuses and nothing else against them."""
    count = len(statuses)
    columns = {
        "exponent": np.zeros(count),
        "decades": np.full(count, 3.5),
        "grown_decades": np.full(count, grown),
        "onset": np.zeros(count),
        "first": np.ones(count, dtype=int),
        "last": np.full(count, 3000),
        "status": np.array(statuses),
        "reason": np.array([f"because {name}" for name in statuses]),
    }
    names = [f"r{k}" for k in range(count)]
    variables = {name: ("node", values) for name, values in columns.items()}
    return xr.Dataset(variables, coords={"node": names, "run": ("node", names)})


def test_disqualifying_statuses_are_known():
    assert set(DISQUALIFYING) <= set(status.STATUSES)


@pytest.mark.parametrize("name", DISQUALIFYING)
def test_an_exponent_that_is_no_estimate_is_left_out_with_its_reason(name):
    kept, left_out = usable(fits(["ok", name]))
    assert kept == ["r0"]
    assert left_out == {"r1": f"because {name}"}


def test_residuals_that_wander_leave_a_run_in():
    assert usable(fits(["noise_nonstationary"]))[0] == ["r0"]


def test_vague_fits_are_told_to_become_clear_of_their_noise():
    assert "clear of their noise" in shortage(fits(["weak_signal", "p_unbounded", "ok"]))
    assert "more records" in shortage(fits(["ok", "ok"]))


def test_many_runs_left_out_are_counted_and_not_listed():
    few = {"a": "too short", "b": "too noisy"}
    assert told_apart(few) == ["left out a: too short", "left out b: too noisy"]
    many = {f"r{k}": "too short" for k in range(50)} | {"other": "too noisy"}
    assert told_apart(many) == ["left out 50 runs: too short", "left out 1 run: too noisy"]
    unlike = {f"r{k}": f"ends at {k}" for k in range(9)}
    assert told_apart(unlike)[-1] == "left out 5 runs for other reasons"


def test_two_and_a_half_decades_are_needed_of_the_window_and_of_growth():
    assert usable(fits(["ok"], grown=2.5))[0] == ["r0"]
    late = fits(["ok"], grown=2.4).assign(onset=("node", [11.6]))
    found = "growth sets in at iteration 12: 2.40 decades of it, 2.5 needed"
    assert usable(late)[1] == {"r0": found}
    nearly = fits(["ok"], grown=2.4999).assign(onset=("node", [11.6]))
    assert usable(nearly)[1] == {"r0": found.replace("2.40", "2.49")}
    short = fits(["ok"]).assign(decades=("node", [2.4]))
    assert usable(short)[1] == {"r0": "2.40 decades of constant learning rate, 2.5 needed"}


def test_the_run_whose_growth_sets_in_last_has_to_go_on_longest():
    # (1 + 50)·10^2.5 − 50 = 16,077, of which two digits are told.
    late = fits(["ok", "ok", "ok"]).assign(onset=("node", [0.0, 50.0, 20.0]))
    text = shortage(late.assign(last=("node", [500, 900, 700])))
    assert "until iteration 16,000 or later" in text
    assert "constant up to iteration 900" in text
    assert "fitted at iteration 50" in text and "latest allowed" not in text
    edge = late.assign(status=("node", ["ok", "onset_edge", "ok"]), last=("node", [500] * 3))
    assert "fitted at iteration 50 or later, the latest allowed" in shortage(edge)


def test_a_sentence_counts_reasons_and_runs():
    assert mostly_left_out({"a": "too short"}, 1) == "The run cannot be used: too short."
    many = {"a": "x", "b": "y", "c": "x", "d": "z", "e": "u", "f": "v"}
    assert mostly_left_out(many, 8) == (
        "Only 2 of 8 runs can be used: x (2 runs); y (1 run); z (1 run); "
        "others in the JSON file (2 runs)."
    )
