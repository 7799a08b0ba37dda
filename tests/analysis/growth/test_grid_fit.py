"""Parameters of fits against generalized least squares, the delta method and simulation."""

import numpy as np
import pytest
from statsmodels.regression.linear_model import GLS

from ultraslow.analysis.growth.family import curve_gradients, to_iterations
from ultraslow.analysis.growth.fit import fit_grid
from ultraslow.analysis.growth.grids import time_grid
from ultraslow.analysis.growth.noise_models import NoiseModel, noise_covariance, simulate_noise
from ultraslow.analysis.growth.status import Settings
from ultraslow.diffusion.laws.growth import growth_regressor

TIMES = np.geomspace(10, 1e5, 40)


def curves(count, scale=0.02, exponent=0.2, onset=20.0):
    noise = simulate_noise(NoiseModel("ar_log_t", 0.5), TIMES, count, rng=np.random.default_rng(0))
    return 3 + 2 * growth_regressor(np.log(TIMES + onset), np.array(exponent)) + scale * noise


def fitted(values, level=0.95):
    return fit_grid(time_grid(TIMES, Settings(level=level, calibrate=False)), values)


def test_offset_slope_and_sigma_are_those_of_generalized_least_squares():
    values = curves(6)
    fit = fitted(values)
    models = time_grid(TIMES, Settings(calibrate=False)).frame.models
    for row, series in enumerate(values):
        u = growth_regressor(np.log(TIMES + fit.onset[row]), fit.exponent[row])
        shape = noise_covariance(models[fit.model[row]], TIMES)
        oracle = GLS(series, np.stack([np.ones_like(u), u], axis=1), sigma=shape).fit()
        assert (fit.offset[row], fit.slope[row]) == pytest.approx(tuple(oracle.params), rel=1e-6)
        assert fit.sigma[row] == pytest.approx(np.sqrt(oracle.scale), rel=1e-5)
        assert fit.signal[row] == pytest.approx(abs(oracle.tvalues[1]), rel=1e-5)


def test_fit_scales_with_the_unit_of_the_distance_and_not_with_an_offset():
    values = curves(3)
    one, other = fitted(values), fitted(1000 * values - 5e4)
    assert other.exponent == pytest.approx(one.exponent, abs=1e-6)
    assert other.slope == pytest.approx(1000 * one.slope, rel=1e-5)
    assert other.sigma == pytest.approx(1000 * one.sigma, rel=1e-5)
    assert (other.low, other.high) == (
        pytest.approx(one.low, abs=1e-5),
        pytest.approx(one.high, abs=1e-5),
    )


def test_unit_of_time_does_not_change_the_curve():
    exponent, unit = np.array([0.0, 0.4, -1.0]), 250.0
    offset, slope = to_iterations(np.ones(3), np.full(3, 2.0), exponent, unit=unit)
    for row, p in enumerate(exponent):
        scaled = 1.0 + 2.0 * growth_regressor(np.log(TIMES / unit), p)
        plain = offset[row] + slope[row] * growth_regressor(np.log(TIMES), p)
        assert plain == pytest.approx(scaled, rel=1e-9)


def test_gradients_are_derivatives():
    parameters = np.array([3.0, 2.0, 0.3, 15.0])  # a, b, p, τ

    def curve(values):
        offset, slope, exponent, onset = values
        return offset + slope * growth_regressor(np.log(TIMES + onset), np.array(exponent))

    log_time = np.log(TIMES + parameters[3])[None]
    found = curve_gradients(log_time, parameters[2:3], parameters[1:2])[0]
    for column in range(4):
        step = np.zeros(4)
        step[column] = 1e-5
        slope = (curve(parameters + step) - curve(parameters - step)) / 2e-5
        assert found[:, column] == pytest.approx(slope, rel=1e-4, abs=1e-6)


def test_parameter_covariance_is_the_spread_of_estimates():
    values = curves(400, scale=0.005)
    fit = fitted(values)
    estimates = np.stack([fit.offset, fit.slope, fit.exponent, fit.onset], axis=1)
    stated = np.sqrt(np.median(np.diagonal(fit.parameters, axis1=1, axis2=2), axis=0))
    # Estimated noise is a little too small (12 %), and 400 draws know a spread to 4 %.
    assert stated == pytest.approx(estimates.std(axis=0), rel=0.3)


def test_detectable_is_2_8_standard_errors_where_chi_squared_holds():
    fit = fitted(curves(200, scale=0.01, exponent=0.0))
    assert np.median(fit.detectable) == pytest.approx(2.80 * fit.exponent.std(), rel=0.35)


# Quantiles of the normal at 97.5, 90 and 80 %: 1.959964, 1.281552 and 0.841621.
@pytest.mark.parametrize(
    ("level", "quantiles", "critical"), [(0.95, 2.801585, 3.841459), (0.8, 2.123173, 1.642374)]
)
def test_detectable_is_made_of_the_standard_error_with_the_onset_profiled(
    level, quantiles, critical
):
    fit = fitted(curves(20, scale=0.002, onset=300.0), level=level)
    inside = (fit.onset > 50) & (fit.onset < 2000)
    assert inside.sum() > 15
    # Of the joint covariance of (a, b, p, τ), computed from derivatives at the records.
    error = np.sqrt(fit.parameters[inside, 2, 2])
    np.testing.assert_allclose(fit.detectable[inside], quantiles * error, rtol=1e-3)
    np.testing.assert_allclose(fit.critical, critical, rtol=1e-6)


def test_a_wider_level_widens_the_interval():
    values = curves(5)
    narrow, wide = fitted(values, level=0.8), fitted(values, level=0.99)
    assert np.all(wide.low < narrow.low) and np.all(narrow.high < wide.high)
