import numpy as np
import pytest

from analysis.fits import fit_tensors, fit_totals

FEW = np.unique(np.geomspace(1, 1000, 12).astype(int))


def test_tensors_of_different_networks_stay_apart(make):
    runs = {
        "a": make(records=FEW, noise=0.01),
        "b": make(records=FEW, noise=0.01, tensor=["x", "y", "linear.bias"]),
    }
    fits = fit_tensors(runs, intervals=False)
    assert set(fits["tensor"].values) == {"conv.weight", "linear.weight", "linear.bias", "x", "y"}
    known = np.isfinite(fits["exponent"])
    assert known.sel(node="a").sum() == known.sel(node="b").sum() == 3
    assert not np.isfinite(fits["exponent_low"]).any()


def test_progress_counts_every_fitted_series_once(make):
    runs = {"a": make(records=FEW), "b": make(records=FEW[:-1]), "c": make(records=[0, 1])}
    calls = []
    fit_tensors(runs, intervals=False, progress=lambda done, total: calls.append((done, total)))
    assert {total for _, total in calls} == {9}
    # The three tensors of "c" have too few records and are not fitted.
    assert sum(done for done, _ in calls) == 6


def test_a_run_without_a_rate_gets_a_row_and_a_reason(make):
    fits = fit_totals({"a": make(learning_rate=None), "b": make(records=[0, 1, 2])})
    assert fits["node"].values.tolist() == ["a", "b"]
    assert fits["decades"].values.tolist() == [0.0, pytest.approx(np.log10(2))]
    assert not np.isfinite(fits["exponent"]).any()
    assert fits["reason"].values[0] == "the learning rate was not recorded"
    assert fits["reason"].values[1]


def test_the_window_ends_with_the_constant_rate(make):
    records = np.arange(1, 60)
    rate = np.where(records <= 40, 0.1, 0.01)
    run = make(records=records, learning_rate=rate, learning_rate_sum=np.cumsum(rate))
    fits = fit_tensors({"a": run}, intervals=False)
    assert (fits["first"].item(), fits["last"].item()) == (1, 40)
    assert fits["grown_decades"].max() <= np.log10(40)
