import numpy as np
import pytest
import xarray as xr

from ultraslow.analysis.growth import NoiseModel, fit_growth, handicap, menu, noise_covariance
from ultraslow.analysis.growth.family import curve_gradients
from ultraslow.analysis.growth.noise_models import simulate_noise
from ultraslow.analysis.planning.pilot import Pilot
from ultraslow.analysis.planning.power import exponent_error, record_times
from ultraslow.analysis.planning.shared_noise import FittedCurve, shared_noise

TIMES = record_times(1000)


def fitted(times, values):
    """Curves of a table, each with the law of its own fit."""
    above = values - min(values.min(), 0.0)  # a distance is not negative
    table = xr.DataArray(above, {"iteration": times}, ["node", "iteration"])
    fits = fit_growth(table.assign_coords(node=range(len(values))), calibrate=False)
    laws = zip(values, fits["exponent"].values, fits["onset"].values, strict=True)
    return [FittedCurve(times, row, float(p), float(onset)) for row, p, onset in laws]


def logarithms(noise, size, count, *, onset=0.0, seed=0):
    grown = np.log(TIMES + onset)
    drawn = simulate_noise(noise, TIMES, count, rng=np.random.default_rng(seed))
    return 10 + (grown - grown[0]) / (grown[-1] - grown[0]) + size * drawn


def likelihood(model, curves, times):
    """ℓ and σ by what the law's derivatives leave: |Q'CQ| = |C||J'C⁻¹J|/|J'J|, Q'J = 0."""
    value, squares, freedom = 0.0, 0.0, 0
    whole = noise_covariance(model, times)
    for curve in curves:
        kept = np.isin(times, curve.times)
        log_time = np.log(curve.times + curve.onset)[None]
        derivatives = curve_gradients(log_time, np.array([curve.exponent]), np.ones(1))[0]
        scaled = derivatives / np.linalg.norm(derivatives, axis=0)
        apart = np.linalg.qr(scaled, mode="complete")[0][:, 4:]
        covariance = apart.T @ whole[np.ix_(kept, kept)] @ apart
        left = apart.T @ curve.values
        value -= 0.5 * np.linalg.slogdet(covariance)[1]
        squares += left @ np.linalg.solve(covariance, left)
        freedom += left.size
    return value - 0.5 * freedom * np.log(squares), np.sqrt(squares / freedom)


@pytest.mark.parametrize(
    "noise", [NoiseModel("white"), NoiseModel("ar_log_t", 0.6), NoiseModel("walk_log_t")]
)
def test_the_model_is_the_likeliest_of_what_the_laws_leave(noise):
    curves = fitted(TIMES, logarithms(noise, 0.02, 3))
    # A run that ended early, and one with a gap.
    curves[1] = fitted(TIMES[:50], curves[1].values[None, :50])[0]
    gap = np.delete(np.arange(TIMES.size), slice(20, 30))
    curves[2] = fitted(TIMES[gap], curves[2].values[None, gap])[0]
    found = shared_noise(curves)
    by_hand = [likelihood(model, curves, TIMES) for model in menu(TIMES)]
    values = [one[0] - handicap(model) for one, model in zip(by_hand, menu(TIMES), strict=True)]
    best = int(np.argmax(values))
    assert found.model == menu(TIMES)[best]
    assert found.sigma == pytest.approx(by_hand[best][1], rel=1e-6)
    np.testing.assert_array_equal(found.times, TIMES)


def test_exponents_of_runs_differ_by_what_their_shared_noise_says():
    """A run's own fit finds two thirds of it: what is slow passes for growth."""
    noise, size, arms, seeds = NoiseModel("ar_log_t", 0.6), 0.015, 16, 4
    table = logarithms(noise, size, arms * seeds, onset=10.0, seed=3)
    curves = fitted(TIMES, table)
    spread = np.std([curve.exponent for curve in curves])
    told = []
    for k in range(arms):
        found = shared_noise(curves[k * seeds : (k + 1) * seeds])
        of = Pilot(TIMES, found.model, found.sigma, onset=10.0)
        told.append(exponent_error(of, TIMES, 0.0))
    assert np.median(told) == pytest.approx(spread, rel=0.25)


def test_a_walk_has_the_size_that_it_gathers_over_all_records():
    short = TIMES[:45]  # to a tenth of the iterations
    table = logarithms(NoiseModel("walk_log_t"), 0.05, 12, seed=5)
    curves = [*fitted(TIMES, table[:4]), *fitted(short, table[4:, :45])]
    found = shared_noise(curves)
    assert found.model.wanders
    assert found.sigma == pytest.approx(0.05, rel=0.3)


def test_curves_without_noise_have_hardly_any():
    curves = fitted(TIMES, logarithms(NoiseModel("white"), 0.0, 3))
    assert shared_noise(curves).sigma < 1e-6
