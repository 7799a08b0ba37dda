"""Known answers of the growth fit, its intervals, its statuses and its messages."""

import numpy as np
import pytest
import xarray as xr

from ultraslow.analysis.growth.fit import fit_growth, fit_peaks
from ultraslow.analysis.growth.noise_models import fitted_noise
from ultraslow.analysis.growth.shape import conditioned_curve, growth_curve
from ultraslow.analysis.growth.status import WEAK_SIGNAL

TIMES = np.geomspace(10, 1e5, 60)


def law(times, exponent, *, offset=0.5, slope=2.0, onset=0.0):
    shifted = times + onset
    power = np.log(shifted) if exponent == 0 else (shifted**exponent - 1) / exponent
    return offset + slope * power


def series(values, times=TIMES, **coords):
    return xr.DataArray(values, {"iteration": times, **coords}, ["iteration"])


@pytest.mark.parametrize("exponent", [-1.5, -0.5, -0.01, 0.0, 0.003, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("onset", [0.0, 3.0, 200.0])
def test_exact_curves_are_recovered(exponent, onset):
    curve = law(TIMES, exponent, onset=onset)
    fit = fit_growth(series(curve), calibrate=False)
    assert abs(fit.exponent.item() - exponent) < 1e-6
    near = 1e-4 * (10 + onset)
    assert fit.onset.item() == pytest.approx(onset, abs=near)
    assert fit.slope.item() == pytest.approx(2.0, rel=1e-4)
    # An onset that is off by so much is made up for by the offset: ∂d/∂τ = b·τ^(p−1) at the start.
    beside = near * 2.0 * max(onset, 1.0) ** (exponent - 1)
    assert fit.offset.item() == pytest.approx(0.5, abs=5e-4 + beside)
    assert fit.status.item() == "ok"


@pytest.mark.parametrize("exponent", [1.0, 1.3])
def test_exact_fast_growth_is_recovered_where_the_onset_is_known(exponent):
    fit = fit_growth(series(law(TIMES, exponent)), onset=0.0, calibrate=False)
    assert abs(fit.exponent.item() - exponent) < 1e-6


def noisy(count, scale=0.01, times=TIMES, seed=0):
    noise = np.random.default_rng(seed).standard_normal((count, times.size))
    return np.log(times) / 9 + scale * noise


def runs(count=4, tensors=3):
    values = noisy(count * tensors).reshape(count, tensors, TIMES.size)
    coords = {"iteration": TIMES, "run": [f"r{i}" for i in range(count)], "batch_size": 64}
    coords["seed"] = ("run", np.arange(count))
    return xr.DataArray(values, coords, ["run", "tensor", "iteration"], attrs={"units": "weight"})


def test_every_dimension_but_iteration_counts_series():
    fit = fit_growth(runs(), calibrate=False)
    assert fit.exponent.dims == ("run", "tensor")
    assert fit.parameter_covariance.dims == ("run", "tensor", "parameter", "parameter_other")
    assert fit.seed.dims == ("run",)
    assert fit.batch_size.item() == 64
    assert fit.slope.attrs["units"] == "weight"
    turned = fit_growth(runs().transpose("iteration", "tensor", "run"), calibrate=False)
    xr.testing.assert_allclose(fit.exponent, turned.exponent.transpose("run", "tensor"))


def test_intervals_are_calibrated_by_default_and_wider_than_asymptotic_ones():
    noise = np.cumsum(np.random.default_rng(0).standard_normal((20, TIMES.size)), axis=1)
    curves = xr.DataArray(
        np.log(TIMES) / 9 + 0.003 * noise, {"iteration": TIMES}, ["run", "iteration"]
    )
    fit, naive = fit_growth(curves, draws=300), fit_growth(curves, calibrate=False)
    assert fit.attrs["critical_values"] == "simulated"
    assert naive.attrs["critical_values"].startswith("asymptotic")
    widths = [np.median(f.exponent_high - f.exponent_low) for f in (fit, naive)]
    assert widths[0] > 1.2 * widths[1]
    assert np.mean((fit.exponent_low <= 0) & (fit.exponent_high >= 0)) > 0.8


def test_results_repeat_exactly():
    curves = runs(2, 2)
    xr.testing.assert_identical(fit_growth(curves, draws=200), fit_growth(curves, draws=200))


def test_result_survives_netcdf(tmp_path):
    fit = fit_growth(runs(), calibrate=False)
    fit.to_netcdf(tmp_path / "fit.nc")
    with xr.open_dataset(tmp_path / "fit.nc") as read:
        xr.testing.assert_allclose(fit, read.load())


def test_record_at_iteration_0_is_left_out():
    times = np.concatenate([[0.0], TIMES])
    values = np.concatenate([[0.0], law(TIMES, 0.3)])
    fit = fit_growth(series(values, times), calibrate=False)
    assert abs(fit.exponent.item() - 0.3) < 1e-6
    assert fit.records.item() == TIMES.size


def test_learning_rate_that_changes_is_a_status_on_iterations():
    rate = series(np.where(TIMES < 1000, 0.1, 0.01))
    fit = fit_growth(runs(), learning_rate=rate, clock="iteration", calibrate=False)
    assert set(fit.status.values.ravel()) == {"rate_changed"}
    assert "from 0.1 to 0.01 by iteration" in fit.reason.values[0, 0]
    steady = fit_growth(runs(), learning_rate=series(np.full(60, 0.1)), calibrate=False)
    assert "rate_changed" not in steady.status.values


def test_learning_rate_may_differ_between_runs():
    rates = np.full((4, TIMES.size), 0.1)
    rates[2, 40:] = 0.01
    rate = xr.DataArray(rates, {"iteration": TIMES}, ["run", "iteration"])
    plain = runs().drop_vars("run")
    status = fit_growth(plain, learning_rate=rate, clock="iteration", calibrate=False).status
    assert (status.isel(run=2) == "rate_changed").all()
    assert (status.isel(run=0) != "rate_changed").all()
    fit = fit_growth(plain, learning_rate=rate, calibrate=False)
    clocks = fit.clock.values[:, 0].tolist()
    assert clocks == ["iteration", "iteration", "learning_rate_sum", "iteration"]
    assert "0.1 to 0.01" in fit.reason.values[2, 0] and "fitted on Ση" in fit.reason.values[2, 0]


def test_a_curve_without_growth_is_weak():
    noise = np.random.default_rng(0).standard_normal(60)
    fit = fit_growth(series(9 + noise), calibrate=False)
    assert fit.status.item() == "weak_signal"
    assert fit.exponent_low.item() == -np.inf


def test_a_falling_curve_is_fitted_and_says_so():
    fit = fit_growth(series(99 - law(TIMES, 0.2)), calibrate=False)
    assert fit.slope.item() < 0
    assert "the series falls" in fit.reason.item()


@pytest.mark.parametrize(
    ("distance", "message"),
    [
        (xr.DataArray(np.ones(5), dims="time"), "found dimensions time, expected `iteration`"),
        (xr.DataArray(np.ones(5), dims="iteration"), "expected `iteration` with its values"),
        (series(np.ones(3), [1.0, 3.0, 2.0]), "iteration 2 follows 3"),
        (series(np.ones(3), [1.0, 1.0, 2.0]), "iteration 1 follows 1"),
        (series(np.ones(3), [-1.0, 1.0, 2.0]), "negative or not finite"),
        (series(np.ones(3), [np.nan, 1.0, 2.0]), "negative or not finite"),
        (
            series([1.0, -0.5, 2.0], [1.0, 2.0, 3.0]),
            "distance: found -0.5 at iteration 2, expected 0 or more",
        ),
        (
            xr.DataArray(
                [[1.0, 2.0], [3.0, -4.0]],
                {"run": ["a", "b"], "iteration": [1, 9]},
                ["run", "iteration"],
            ),
            "distance: found -4 at run b, iteration 9, expected 0 or more",
        ),
    ],
)
def test_bad_iterations_are_named(distance, message):
    with pytest.raises(ValueError, match=message):
        fit_growth(distance)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"level": 0.5}, "level: found 0.5"),
        ({"onset": -1.0}, "onset: found -1.0"),
        ({"draws": 10}, "draws: found 10"),
        ({"draws": 500.5}, "draws: found 500.5, expected a whole number"),
        ({"seed": -1}, "seed: found -1, expected a whole number"),
        (
            {"learning_rate": xr.DataArray(np.ones(3), dims="x")},
            "learning_rate: found dimensions x",
        ),
        (
            {"learning_rate": series(np.ones(3), [1.5, 2.5, 3.5])},
            "learning_rate: expected values at every iteration",
        ),
        (
            {"clock": series(TIMES[:49], TIMES[:49]).rename("samples")},
            f"clock: found no reading of samples at 11 of 60 iterations, as {TIMES[49]:g}",
        ),
        ({"onset": 1e12}, "onset: found 1e\\+12, expected at most 100 times the last"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        fit_growth(series(law(TIMES, 0.2)), **options)


def test_a_rate_that_is_a_number_is_told_what_is_expected():
    with pytest.raises(TypeError, match="learning_rate: found float, expected xarray.DataArray"):
        fit_growth(series(law(TIMES, 0.2)), learning_rate=0.1)


def test_records_without_a_reading_of_the_clock_are_told_as_that():
    readings = np.where(TIMES < 30, np.nan, TIMES)
    curve = series(law(TIMES, 0.5), samples=("iteration", readings))
    reason = fit_growth(curve, clock="samples", calibrate=False).reason.item()
    assert f"{np.sum(TIMES < 30)} records without a reading of samples left out" in reason
    assert "did not go on" not in reason


def test_no_series_gives_an_empty_result():
    empty = xr.DataArray(np.empty((0, 60)), {"iteration": TIMES}, ["run", "iteration"])
    assert fit_growth(empty).exponent.shape == (0,)


def test_growth_curve_of_an_exact_law_is_the_law():
    fit = fit_growth(series(law(TIMES, 0.3, onset=20.0)), calibrate=False)
    times = np.geomspace(1, 1e6, 30)
    curve = growth_curve(fit, times)
    assert curve.distance.values == pytest.approx(law(times, 0.3, onset=20.0), rel=1e-4)
    assert (curve.low <= curve.distance).all()


def test_band_of_the_curve_covers_pointwise():
    # 300 curves with independent noise: the band holds the truth at 95 % of points, ± 3 %.
    curves = xr.DataArray(noisy(300), {"iteration": TIMES}, ["run", "iteration"])
    band = growth_curve(fit_growth(curves, calibrate=False), TIMES)
    truth = xr.DataArray(np.log(TIMES) / 9, {"iteration": TIMES}, ["iteration"])
    held = ((band.low <= truth) & (truth <= band.high)).mean()
    assert 0.90 < held < 0.99


def test_curve_of_a_series_that_was_not_fitted_is_missing():
    fit = fit_growth(series(np.ones(60)), calibrate=False)
    assert np.isnan(growth_curve(fit, TIMES).distance).all()
    assert np.isnan(growth_curve(fit, 0).distance).all()
    assert growth_curve(fit, 100.0).sizes == {"iteration": 1}


@pytest.mark.parametrize("iteration", [[-5.0], [np.nan], [np.inf], [[1.0]]])
def test_a_curve_is_drawn_at_iterations_only(iteration):
    fit = fit_growth(series(np.log(TIMES)), calibrate=False)
    with pytest.raises(ValueError, match="iteration: expected finite values >= 0"):
        growth_curve(fit, iteration)


def test_a_curve_is_missing_at_iteration_0_and_the_same_elsewhere():
    """A run's own iterations begin with 0, where no law speaks."""
    fit = fit_growth(series(np.log(TIMES)), calibrate=False)
    after = growth_curve(fit, TIMES)
    whole = growth_curve(fit, [0, *TIMES])
    assert whole["iteration"].values.tolist() == [0, *TIMES]
    for name in ("distance", "low", "high"):
        assert np.isnan(whole[name].values[0])
        np.testing.assert_array_equal(whole[name].values[1:], after[name].values)


def test_noise_of_a_fit_can_be_taken_out_of_it():
    fit = fit_growth(runs(1, 2), calibrate=False).isel(run=0)
    for tensor in range(2):
        one = fit.isel(tensor=tensor)
        assert str(fitted_noise(one)) == one.noise_model.item()
    assert fitted_noise(fit_growth(series(np.ones(60)), calibrate=False)) is None


@pytest.mark.parametrize(
    ("distance", "message"),
    [
        (np.ones(5), "distance: found ndarray, expected xarray.DataArray"),
        (series(np.ones(3) + 0j, [1.0, 2.0, 3.0]), "found values of type complex128"),
        (series(["a", "b", "c"], [1.0, 2.0, 3.0]), "found values of type <U1"),
        (series(np.ones(3), ["1", "2", "3"]), "found `iteration` of type <U1"),
    ],
)
def test_what_is_no_curve_of_numbers_is_refused(distance, message):
    with pytest.raises(TypeError, match=message):
        fit_growth(distance)


def test_no_records_and_no_series_are_answered():
    nothing = fit_growth(series(np.empty(0), np.empty(0)), calibrate=False)
    assert nothing.status == "too_few_points"
    assert "0 records" in nothing.reason.item()
    table = xr.DataArray(np.empty((0, 30)), {"iteration": TIMES[:30]}, ["run", "iteration"])
    assert fit_growth(table, calibrate=False).sizes == {
        "run": 0,
        "parameter": 4,
        "parameter_other": 4,
    }


@pytest.mark.parametrize(
    ("factor", "status", "words"),
    [(1e300, "nonfinite", "too large to be squared"), (1e-300, "weak_signal", "is constant")],
)
def test_values_whose_squares_overflow_are_not_fitted(factor, status, words):
    fit = fit_growth(series(factor * np.log(TIMES), TIMES), calibrate=False)
    assert fit.status == status
    assert words in fit.reason.item()
    assert fit.exponent_low == -np.inf


def test_an_onset_late_in_the_records_opens_the_interval_or_is_in_it():
    # Half of the growth of ln(1 + t/6000) over 30,000 iterations comes before its onset.
    times = np.unique(np.geomspace(1, 3e4, 60).round())
    noise = np.random.default_rng(0).standard_normal((20, times.size))
    values = 1 + np.log1p(times / 6000) + 0.005 * noise
    curves = xr.DataArray(values, {"iteration": times}, ["run", "iteration"])
    fit = fit_growth(curves, draws=200)
    assert ((fit.exponent_low <= 0) & (fit.exponent_high >= 0)).sum() >= 18
    assert set(fit.status.values) <= {"onset_edge", "p_unbounded"}
    assert all("onset" in reason or "set in" in reason for reason in fit.reason.values)


def gapped(count, missing, seed=0):
    """Noisy logarithms over TIMES, each without a few records of its own; the ends are there."""
    rng = np.random.default_rng(seed)
    values = noisy(count, seed=seed)
    for row in values:
        row[rng.choice(np.arange(1, TIMES.size - 1), missing, replace=False)] = np.nan
    return xr.DataArray(values, {"iteration": TIMES}, ["run", "iteration"])


def test_series_with_gaps_of_their_own_share_what_is_simulated():
    curves = gapped(6, 4)
    together = fit_growth(curves, draws=200)
    assert (together.records == TIMES.size - 4).all()
    alone = xr.concat([fit_growth(curves.isel(run=[k]), draws=200) for k in range(6)], dim="run")
    xr.testing.assert_identical(together, alone)
    assert ((together.exponent_low <= 0) & (together.exponent_high >= 0)).sum() >= 5
    # Cut to its own records, a curve is calibrated at them, and tells nearly the same.
    own = curves.isel(run=0).dropna("iteration")
    itself = fit_growth(own, draws=200)
    width = (itself.exponent_high - itself.exponent_low).item()
    for end in ("exponent_low", "exponent_high"):
        assert together[end][0].item() == pytest.approx(itself[end].item(), abs=0.2 * width)


def test_what_has_lost_a_part_of_its_range_is_calibrated_by_itself():
    values = noisy(1)
    values[0, :10] = np.nan
    cut = fit_growth(xr.DataArray(values, {"iteration": TIMES}, ["run", "iteration"]), draws=200)
    own = fit_growth(series(values[0, 10:], TIMES[10:]), draws=200)
    assert cut.exponent_low.item() == own.exponent_low.item()
    assert cut.exponent_high.item() == own.exponent_high.item()


@pytest.mark.parametrize("records", [40, 200])
def test_peaks_alone_are_those_of_the_whole_fit(records):
    times = np.unique(np.geomspace(1, 2e4, records).round())
    rng = np.random.default_rng(3)
    curves = np.stack([law(times, p) / law(times, p)[-1] for p in np.linspace(-1, 1, 12)])
    values = 1 + curves + 0.02 * rng.standard_normal(curves.shape)
    values[-2], values[-1] = 9 + rng.standard_normal(times.size), 1.0
    table = xr.DataArray(values, {"iteration": times}, ["run", "iteration"])
    whole = fit_growth(table, calibrate=False)
    exponents, signals = fit_peaks(times, values)
    np.testing.assert_array_equal(exponents, whole.exponent.values)
    np.testing.assert_array_equal(signals, whole.signal.values)
    assert np.isnan(exponents).sum() == 1
    weak = ~(signals >= WEAK_SIGNAL)
    np.testing.assert_array_equal(weak, whole.status.values == "weak_signal")
    assert weak.sum() == 2


def cosine(times):
    """A rate that falls to 0 like a cosine over the times, and its sum in closed form."""
    phase = np.pi * times / times[-1]
    rate = 0.05 * (1 + np.cos(phase)) + 1e-6
    return rate, 0.05 * (times + np.sin(phase) * times[-1] / np.pi) + 1e-6 * times


def test_a_law_of_the_summed_rate_is_recovered_on_that_clock():
    _, summed = cosine(TIMES)
    curve = series(law(summed, 0.3, onset=2.0), learning_rate_sum=("iteration", summed))
    wanted = {"exponent": 0.3, "onset": 2.0, "slope": 2.0, "offset": 0.5}
    for clock in ("learning_rate_sum", summed, curve["learning_rate_sum"]):
        fit = fit_growth(curve, clock=clock, calibrate=False)
        for name, value in wanted.items():
            assert fit[name].item() == pytest.approx(value, rel=1e-3, abs=1e-5)
    assert fit.clock.item() == "learning_rate_sum"
    assert fit_growth(curve, clock=summed, calibrate=False).clock.item() == "clock"


def test_rates_that_change_are_summed_where_nothing_else_is_asked_for():
    rate, summed = cosine(TIMES)
    curve = series(law(summed, 0.5), learning_rate_sum=("iteration", summed))
    fit = fit_growth(curve, learning_rate=series(rate), calibrate=False)
    assert abs(fit.exponent.item() - 0.5) < 1e-4
    assert fit.status.item() == "ok"
    assert "the learning rate changes" in fit.reason.item()
    assert fit.reason.item().endswith("fitted on Ση")


def test_what_cycles_of_the_rate_leave_does_not_bend_the_law():
    updates, at = np.arange(1, 16_001), np.arange(200, 16_001, 200)
    rates = 0.01 + 0.99 * (1 - np.abs(1 - (updates - 0.5) % 2000 / 1000))
    # A logarithm of what high rates drive more than in proportion: no function of the summed rate.
    driven = np.cumsum(rates**1.5)
    distance = 4 + np.log(driven / driven[-1] + 0.02)[at - 1]
    curve = xr.DataArray(distance, {"iteration": at}, ["iteration"])
    fit = fit_growth(curve, clock=np.cumsum(rates)[at - 1], calibrate=False)
    assert fit.exponent.item() == pytest.approx(0.0, abs=0.08)  # −0.11 by smooth wander in ln t
    assert fit.exponent_low.item() < 0 < fit.exponent_high.item()


@pytest.mark.parametrize("least", [1e-5, 1e-9, 1e-13])
def test_a_rate_that_has_all_but_ended_is_fitted(least):
    rates = np.where(np.arange(1, 1001) < 500, 1.0, least)
    at = np.unique(np.geomspace(1, 1000, 60).round()).astype(int)
    summed = np.cumsum(rates)[at - 1]
    distance = 1 + np.log(summed) + 0.01 * np.random.default_rng(0).standard_normal(at.size)
    curve = xr.DataArray(distance, {"iteration": at}, ["iteration"])
    fit = fit_growth(curve, clock=summed, calibrate=False)
    assert fit.exponent.item() == pytest.approx(0.0, abs=0.02)


@pytest.mark.parametrize("calibrate", [False, True])
def test_the_unit_of_a_clock_changes_nothing(calibrate):
    curves = xr.DataArray(noisy(3), {"iteration": TIMES}, ["run", "iteration"])
    plain = fit_growth(curves, calibrate=calibrate, draws=200)
    other = fit_growth(curves, clock=TIMES * 3e-4, calibrate=calibrate, draws=200)
    for name in ("exponent", "exponent_low", "exponent_high", "log_p_value", "signal"):
        np.testing.assert_allclose(other[name].values, plain[name].values, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(other.onset.values, plain.onset.values * 3e-4, rtol=1e-3, atol=1e-9)


def test_records_at_which_the_clock_stands_still_are_left_out_and_told():
    summed = np.where(TIMES < 30, 0.0, TIMES - 30)
    summed[40:43] = summed[40]
    curve = series(np.where(summed > 0, law(np.maximum(summed, 1e-9), 0.5), 0.0))
    fit = fit_growth(curve, clock=summed, calibrate=False)
    still = int(np.sum(TIMES < 30)) + 2
    assert fit.records.item() == TIMES.size - still
    assert f"{still} records at which clock did not go on left out" in fit.reason.item()
    assert abs(fit.exponent.item() - 0.5) < 1e-4


def test_what_is_read_at_iterations_asks_for_the_clock():
    _, summed = cosine(TIMES)
    curve = series(law(summed, 0.3), learning_rate_sum=("iteration", summed))
    fit = fit_growth(curve, clock="learning_rate_sum", calibrate=False)
    with pytest.raises(ValueError, match="clock: expected readings .* of learning_rate_sum"):
        growth_curve(fit, TIMES)
    drawn = growth_curve(fit, TIMES, clock=summed)
    np.testing.assert_allclose(drawn.distance.values, curve.values, rtol=1e-4)
    np.testing.assert_array_equal(drawn["iteration"].values, TIMES)
    with pytest.raises(ValueError, match=r"clock: found shape \(2,\)"):
        growth_curve(fit, TIMES, clock=[1.0, 2.0])
    with pytest.raises(ValueError, match="fit: found one on learning_rate_sum, expected one on"):
        fitted_noise(fit)


def test_the_conditioned_curve_meets_records_that_its_law_runs_beside():
    times = np.unique(np.geomspace(1, 3000, 60).astype(int))
    walk = np.random.default_rng(7).standard_normal(times.size).cumsum() * 0.08
    curve = xr.DataArray(2 + np.log(times) + walk, {"iteration": times}, ["iteration"])
    fit = fit_growth(curve, calibrate=False)
    assert fit["noise_kind"].item() != "white"
    law = growth_curve(fit, times)["distance"].values
    line = conditioned_curve(fit, curve, times)
    assert np.abs(line - curve.values).max() < 0.5 * np.abs(law - curve.values).max()
    beyond = conditioned_curve(fit, curve, [0.5, 10.0, 1e5])
    assert np.isnan(beyond[[0, 2]]).all()
    assert np.isfinite(beyond[1])


def test_the_conditioned_curve_of_an_exact_law_is_the_law_also_on_a_clock():
    times = np.unique(np.geomspace(1, 3000, 60).astype(int))
    clock = 0.1 * times**0.9
    noise = 1e-3 * np.random.default_rng(2).standard_normal(times.size)
    curve = xr.DataArray(1 + 2 * np.sqrt(clock) + noise, {"iteration": times}, ["iteration"])
    fit = fit_growth(curve.assign_coords(s=("iteration", clock)), clock="s", calibrate=False)
    at = np.geomspace(clock[0], clock[-1], 9)
    line = conditioned_curve(fit, curve, at, clock=clock)
    assert line == pytest.approx(1 + 2 * np.sqrt(at), abs=0.02)


def test_the_conditioned_curve_of_no_fit_is_missing():
    curve = xr.DataArray([1.0, 2.0], {"iteration": [1, 2]}, ["iteration"])
    fit = fit_growth(curve, calibrate=False)
    assert np.isnan(conditioned_curve(fit, curve, [1.0, 2.0])).all()
