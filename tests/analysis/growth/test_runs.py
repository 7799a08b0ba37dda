import numpy as np
import pytest

from ultraslow.analysis.growth.runs import (
    LATE_GROWTH,
    at_latest_onset,
    falls,
    fit_on,
    fit_tensors,
    fit_totals,
)

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


def test_a_logarithm_that_sets_in_late_is_told_from_a_root(make):
    times = np.unique(np.geomspace(1, 3000, 60).astype(int))
    late, root = np.log1p(times / 1200), np.sqrt(times)
    curves = {f"{name}{seed}": (name, seed) for name in ("late", "root") for seed in range(3)}
    runs = {}
    for name, (law, seed) in curves.items():
        curve = {"late": late, "root": root}[law]
        noise = 1 + 1e-3 * np.random.default_rng(seed).standard_normal(times.size)
        squares = (curve * noise)[:, None] ** 2 * np.array([0.6, 0.3, 0.1])
        runs[name] = make(run=name, seed=seed, records=times, distance_sq=squares)
    fits = fit_totals(runs)
    for law, known in (("late", True), ("root", False)):
        own = fits.sel(node=[name for name in runs if name.startswith(law)])
        assert at_latest_onset(own) is known
    assert not at_latest_onset(fits.isel(node=[]))


def test_a_distance_that_falls_is_told_from_one_that_grows(make):
    times = np.unique(np.geomspace(1, 3000, 60).astype(int))
    laws = {"down": 9 - np.log(times), "up": 1 + np.log(times), "still": np.full(times.size, 5.0)}
    runs = {}
    for name, seed in ((name, seed) for name in laws for seed in range(3)):
        noise = 0.02 * np.random.default_rng(seed).standard_normal(times.size)
        squares = (laws[name] + noise)[:, None] ** 2 * np.array([0.6, 0.3, 0.1])
        runs[f"{name}{seed}"] = make(run=name, seed=seed, records=times, distance_sq=squares)
    fits = fit_totals(runs)
    for name in laws:
        own = fits.sel(node=[node for node in runs if node.startswith(name)])
        assert falls(own) is (name == "down")
    assert not falls(fits.isel(node=[]))


def test_a_run_without_a_rate_gets_a_row_and_a_reason(make):
    fits = fit_totals({"a": make(learning_rate=None), "b": make(records=[0, 1, 2])})
    assert fits["node"].values.tolist() == ["a", "b"]
    assert fits["decades"].values.tolist() == [0.0, pytest.approx(np.log10(2))]
    assert not np.isfinite(fits["exponent"]).any()
    assert fits["reason"].values[0] == "the learning rate was not recorded"
    assert fits["reason"].values[1]


def test_a_rate_that_never_stays_is_named_as_the_reason(make):
    falling = make(records=FEW)
    falling["learning_rate"].values[:] = np.geomspace(0.1, 0.01, FEW.size)
    few = make(records=FEW[:4])
    found = fit_totals({"falling": falling, "few": few})
    assert found["status"].values.tolist() == ["too_few_points"] * 2
    reasons = found["reason"].values.tolist()
    assert reasons[0].startswith("the learning rate stays constant for 1 record at most")
    assert reasons[1].startswith("4 records after iteration 0")


def test_the_window_ends_with_the_constant_rate(make):
    records = np.arange(1, 60)
    rate = np.where(records <= 40, 0.1, 0.01)
    run = make(records=records, learning_rate=rate, learning_rate_sum=np.cumsum(rate))
    fits = fit_tensors({"a": run}, intervals=False)
    assert (fits["first"].item(), fits["last"].item()) == (1, 40)
    assert fits["grown_decades"].max() <= np.log10(40)


def test_decades_of_growth_are_counted_beyond_the_onset(make):
    times = np.unique(np.geomspace(1, 3000, 40).astype(int))
    squares = (1 + np.log1p(times / 40.0))[:, None] ** 2 * np.ones(3) / 3
    fits = fit_tensors({"a": make(records=times, distance_sq=squares)}, intervals=False)
    onset = fits["onset"].values
    np.testing.assert_allclose(onset, 40.0, rtol=0.01)
    expected = np.log10((3000 + onset) / (1 + onset))
    np.testing.assert_allclose(fits["grown_decades"].values, expected, rtol=1e-12)


def test_rows_keep_the_order_of_the_runs(make):
    # "a" and "c" share their records and are fitted together.
    records = {"a": FEW, "b": FEW[:-1], "c": FEW}
    runs = {name: make(records=times, run=name) for name, times in records.items()}
    fits = fit_tensors(runs, intervals=False)
    assert fits["node"].values.tolist() == fits["run"].values.tolist() == ["a", "b", "c"]
    assert fits["last"].values.tolist() == [FEW[-1], FEW[-2], FEW[-1]]


def test_fits_are_made_at_the_level_asked_for(make):
    # Too few records to fit: nothing is simulated.
    for level in (0.8, 0.99):
        assert fit_totals({"a": make(records=[0, 1, 2])}, level=level).attrs["level"] == level
        assert fit_tensors({"a": make(records=[0, 1, 2])}, level=level).attrs["level"] == level


def test_copies_are_marked(make):
    one, other = make(records=[0, 1, 2]), make(records=[0, 1, 2], seed=1)
    runs = {"a": one, "b": other, "again": one, "large": make(records=[0, 1, 2], batch_size=256)}
    assert fit_totals(runs)["repeats"].values.tolist() == [False, False, True, False]


@pytest.mark.parametrize(("exponent", "side"), [(0.5, "faster_advantage"), (0.0, None)])
def test_how_a_curve_grows_late_stands_beside_its_fit(make, exponent, side):
    records = np.append(0, np.unique(np.geomspace(1, 10_000, 60).astype(int)))
    runs = {
        "whole": make(exponent=exponent, noise=0.001, records=records),
        "short": make(exponent=exponent, noise=0.001, records=records[records < 100]),
        "few": make(records=[0, 1, 2]),
    }
    fits = fit_totals(runs)
    ratio, low, high = (
        fits[name].sel(node="whole").item()
        for name in ("decade_ratio", "decade_ratio_low", "decade_ratio_high")
    )
    assert low < ratio < high
    assert low < 1.02 * 10**exponent and high > 0.98 * 10**exponent
    for name in ("faster_advantage", "slower_advantage"):
        assert (fits[name].sel(node="whole").item() > 0) == (name == side)
        assert np.isfinite(fits[name].sel(node="short").item())
    # Fewer than 2.2 decades have no ratio, and what is not fitted has nothing.
    assert np.isnan(fits["decade_ratio"].sel(node=["short", "few"])).all()
    assert np.isnan(fits[list(LATE_GROWTH)].sel(node="few").to_array()).all()


def test_late_growth_is_read_off_the_window_of_constant_rate(make):
    """What comes before or after the constant rate, and records at iteration 0, are left out."""
    records = np.append(0, np.unique(np.geomspace(1, 3000, 60).astype(int)))
    run = make(exponent=0.5, noise=0.001, records=records)
    whole = fit_totals({"a": run})
    longer = np.append(records, [4000, 5000, 6000])
    more = make(exponent=0.5, noise=0.001, records=longer)
    for name in run.data_vars:
        if "iteration" in more[name].dims:
            more[name].values[: records.size] = run[name].values
    more["learning_rate"].values[-3:] *= 0.1
    more["distance_sq"].values[-3:] *= 4
    found = fit_totals({"a": more})
    assert found["last"].item() == 3000
    for name in LATE_GROWTH:
        assert found[name].item() == pytest.approx(whole[name].item(), rel=1e-9)


def triangular(make, **more):
    """A run whose rate goes up and down twice, and whose distance grows like (Ση)^½."""
    records = np.append(0, np.unique(np.geomspace(1, 4000, 50).astype(int)))
    phase = (np.arange(1, 4001) / 2000) % 1
    rates = 0.001 + 0.1 * (1 - np.abs(2 * phase - 1))
    summed = np.append(0, np.cumsum(rates))[records]
    squares = np.outer(summed, [0.6, 0.3, 0.1])
    rate = np.append(rates[0], rates)[records]
    return make(
        records=records,
        distance_sq=squares,
        learning_rate=rate,
        learning_rate_sum=summed,
        **more,
    )


def test_a_run_whose_rate_never_stays_is_fitted_on_its_sum(make):
    runs = {"cyclic": triangular(make), "steady": make(exponent=0.5, noise=0.001, seed=1)}
    assert fit_totals(runs)["status"].values[0] == "too_few_points"
    fits = fit_on(runs, "learning_rate_sum")
    np.testing.assert_allclose(fits["exponent"].values, 0.5, atol=0.02)
    assert set(fits["clock"].values) == {"learning_rate_sum"}
    assert fits["decades"].values[0] == pytest.approx(
        np.log10(2 * 51 * 2000 / 1000 / 0.0011), abs=1
    )
    assert (fits["first"].values == 1).all() and fits["last"].values[0] == 4000


def test_a_run_without_the_clock_gets_a_row_and_a_reason(make):
    fits = fit_on({"a": triangular(make), "b": make(records=FEW)}, "update_sq")
    assert not np.isfinite(fits["exponent"]).any()
    assert all("found no update_sq" in reason for reason in fits["reason"].values)


def test_a_clock_that_falls_gets_a_reason_as_well(make):
    run = triangular(make)
    sums = run["learning_rate_sum"]
    fits = fit_on({"a": run.assign(learning_rate_sum=-sums)}, "learning_rate_sum")
    assert "learning_rate_sum falls from" in fits["reason"].values[0]
    assert not np.isfinite(fits["exponent"]).any()
