"""κ of laws whose κ is known, and the coverage of its band."""

import numpy as np
import pytest
import xarray as xr
from scipy import stats
from statsmodels.regression.linear_model import GLS

from ultraslow.analysis.growth.fit import fit_growth
from ultraslow.analysis.growth.noise_models import (
    NoiseModel,
    fitted_noise,
    handicap,
    menu,
    noise_covariance,
    simulate_noise,
)
from ultraslow.analysis.growth.shape import bend, local_shape, spline_designs

TIMES = np.geomspace(10, 1e5, 60)
WHITE = NoiseModel("white")
LOG = np.log(TIMES)

KNOWN = {
    "log": (LOG, np.zeros_like(LOG)),
    "power": (TIMES**0.3, np.full_like(LOG, 0.3)),
    "square of the log": (LOG**2, 1 / LOG),
    "onset": (np.log1p(TIMES / 100), 1 / (1 + TIMES / 100)),
    "saturation": (1 - TIMES**-0.5, np.full_like(LOG, -0.5)),
}


@pytest.mark.parametrize("name", KNOWN)
def test_known_shapes(name):
    values, expected = KNOWN[name]
    found = local_shape(TIMES, values, WHITE, pieces=12, rng=np.random.default_rng(0))
    # The second derivative of a cubic spline with pieces of 0.77 in ln t is off by h²/12 · d⁗/d'.
    assert found.shape == pytest.approx(expected, abs=0.06)


def test_band_holds_the_whole_curve_as_often_as_it_says():
    # A log law is a spline, so there is no bias: 95 % of 300 bands, ± 1.3 %.
    rng = np.random.default_rng(1)
    noise = NoiseModel("ar_log_t", length=0.3)
    series = LOG + 0.02 * simulate_noise(noise, TIMES, 300, rng=rng)
    bands = [local_shape(TIMES, values, noise, draws=500, rng=rng) for values in series]
    held = [np.all((band.low <= 0) & (band.high >= 0)) for band in bands]
    assert 0.90 < np.mean(held) < 0.985
    slopes = [np.all((band.slope_low <= 1) & (band.slope_high >= 1)) for band in bands]
    assert 0.90 < np.mean(slopes) < 0.985


def test_shape_is_missing_where_the_curve_is_flat():
    values = (
        np.where(TIMES < 1000, LOG, np.log(1000))
        + 0.01 * simulate_noise(WHITE, TIMES, 1, rng=np.random.default_rng(2))[0]
    )
    found = local_shape(TIMES, values, WHITE, pieces=6, rng=np.random.default_rng(3))
    assert np.isnan(found.shape[-5:]).all()
    assert np.isfinite(found.shape[:15]).all()
    assert found.reason.startswith("slope not told from 0")


def test_designs_are_derivatives_of_each_other():
    clock = np.linspace(0, 5, 2001)
    value, slope, curvature = spline_designs(clock, 4)
    assert np.gradient(value, clock, axis=0)[5:-5] == pytest.approx(slope[5:-5], abs=1e-4)
    assert np.gradient(slope, clock, axis=0)[5:-5] == pytest.approx(curvature[5:-5], abs=3e-2)


def test_too_few_records_are_named():
    with pytest.raises(ValueError, match="times: found 6 records, expected at least 9"):
        local_shape(TIMES[:6], LOG[:6], WHITE, pieces=4, rng=np.random.default_rng(0))


@pytest.mark.parametrize(
    ("name", "side"),
    [("log", "undecided"), ("power", "above"), ("onset", "above"), ("saturation", "below")],
)
def test_bends_of_known_laws(name, side):
    values = KNOWN[name][0]
    noise = simulate_noise(WHITE, TIMES, 1, rng=np.random.default_rng(4))[0]
    found = bend(TIMES, values + 0.01 * np.ptp(values) * noise)
    assert found.side == side
    assert found.low < found.late - found.early < found.high


def test_slopes_of_a_square_of_the_log_are_those_of_its_thirds():
    # Over [L, L + h] the mean slope of L² is 2L + h.
    found = bend(
        TIMES, LOG**2 + 1e-6 * simulate_noise(WHITE, TIMES, 1, rng=np.random.default_rng(5))[0]
    )
    length = (LOG[-1] - LOG[0]) / 3
    assert found.early == pytest.approx(2 * LOG[0] + length, rel=1e-3)
    assert found.late == pytest.approx(2 * LOG[-1] - length, rel=1e-3)
    assert found.shape == pytest.approx(np.log(found.late / found.early) / (2 * length))


def test_bend_of_a_curve_that_falls_has_no_shape():
    found = bend(
        TIMES, -LOG + 0.01 * simulate_noise(WHITE, TIMES, 1, rng=np.random.default_rng(6))[0]
    )
    assert np.isnan(found.shape)
    assert found.side == "undecided"


def test_bend_needs_records():
    with pytest.raises(ValueError, match="times: found 6 records"):
        bend(TIMES[:6], LOG[:6], pieces=4)


def test_a_constant_has_no_shape():
    found = local_shape(TIMES, np.full(60, 7.0), WHITE, rng=np.random.default_rng(0))
    assert np.isnan(found.shape).all()
    assert found.reason == "slope not told from 0 at 60 of 60 times"
    assert bend(TIMES, np.full(60, 7.0)).side == "undecided"


@pytest.mark.parametrize(
    ("times", "values", "message"),
    [
        (TIMES - 10, LOG, "times: expected positive"),
        (TIMES[::-1], LOG, "times: expected positive"),
        (np.append(TIMES[1], TIMES[1:]), LOG, "times: expected positive"),
        (TIMES, np.append(LOG[1:], np.nan), "values: found 1 that are not finite"),
        (TIMES, LOG[1:], r"values: found shape \(59,\)"),
    ],
)
def test_curves_that_are_none_are_refused(times, values, message):
    with pytest.raises(ValueError, match=message):
        local_shape(times, values, WHITE, rng=np.random.default_rng(0))
    with pytest.raises(ValueError, match=message):
        bend(times, values)


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_a_bends_interval_is_that_of_generalized_least_squares(level):
    """Each noise model's interval by statsmodels, joined over those that are likely enough."""
    times = np.geomspace(10, 1e4, 30)
    clock = np.log(times)
    wandering = NoiseModel("ar_log_t", 1.0)
    values = clock + 0.1 * simulate_noise(wandering, times, 1, rng=np.random.default_rng(5))[0]
    design = spline_designs(clock, 3)[0]
    marks = spline_designs(np.linspace(clock[0], clock[-1], 4), 3)[0]
    change = 3 * (marks[3] - marks[2] - marks[1] + marks[0]) / (clock[-1] - clock[0])
    fits = []
    for model in menu(times):
        if model.kind == "smooth_log_t" or model.hurst != 0.5:
            continue  # what wanders smoothly is the spline's to follow
        shape = noise_covariance(model, times)
        fit = GLS(values, design, sigma=shape).fit()
        white = np.linalg.solve(shape, design)
        likelihood = -0.5 * fit.df_resid * np.log(fit.ssr) - 0.5 * np.linalg.slogdet(shape)[1]
        likelihood -= 0.5 * np.linalg.slogdet(design.T @ white)[1] + handicap(model)
        half = stats.t.ppf((1 + level) / 2, 30 - 6) * np.sqrt(change @ fit.cov_params() @ change)
        fits.append((likelihood, change @ fit.params - half, change @ fit.params + half))
    likely = [fit for fit in fits if fit[0] > max(fits)[0] - 3]
    found = bend(times, values, level=level)
    assert found.low == pytest.approx(min(fit[1] for fit in likely), rel=1e-6)
    assert found.high == pytest.approx(max(fit[2] for fit in likely), rel=1e-6)
    best = max(fits)
    assert found.late - found.early == pytest.approx((best[1] + best[2]) / 2, rel=1e-6)
    assert 1 < len(likely) < len(fits)


def test_bands_keep_the_level_asked_for():
    values = LOG + 0.02 * simulate_noise(WHITE, TIMES, 1, rng=np.random.default_rng(6))[0]
    narrow, wide = (
        local_shape(TIMES, values, WHITE, level=level, rng=np.random.default_rng(7))
        for level in (0.5, 0.95)
    )
    # The largest of several normal errors: a band of one half lies beyond the 0.67 of each alone.
    error = (wide.slope_high - wide.slope_low) / (narrow.slope_high - narrow.slope_low)
    assert np.ptp(error) < 1e-9 and 1.2 < error[0] < 2.9
    assert np.all((wide.high - wide.low) > 1.2 * (narrow.high - narrow.low))


def test_the_noise_may_be_that_of_the_fit():
    times = np.geomspace(1, 3000, 60).round().astype(int)
    times = np.unique(times)
    rng = np.random.default_rng(0)
    curve = xr.DataArray(
        times**0.5 * np.exp(0.002 * rng.standard_normal(times.size)),
        dims="iteration",
        coords={"iteration": times},
    )
    fit = fit_growth(curve)
    found = local_shape(times, curve.values, fit)
    same = local_shape(times, curve.values, fitted_noise(fit))
    np.testing.assert_array_equal(found.shape, same.shape)
    assert np.median(found.shape) == pytest.approx(0.5, abs=0.1)
    with pytest.raises(TypeError, match="noise: found str, expected the curve's fit"):
        local_shape(times, curve.values, "white")
