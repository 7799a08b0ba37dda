"""κ of laws whose κ is known, and the coverage of its band."""

import numpy as np
import pytest

from analysis.local_shape import local_shape, spline_designs
from analysis.noise_models import NoiseModel, simulate

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
    series = LOG + 0.02 * simulate(noise, TIMES, 300, rng=rng)
    bands = [local_shape(TIMES, values, noise, draws=500, rng=rng) for values in series]
    held = [np.all((band.low <= 0) & (band.high >= 0)) for band in bands]
    assert 0.90 < np.mean(held) < 0.985
    slopes = [np.all((band.slope_low <= 1) & (band.slope_high >= 1)) for band in bands]
    assert 0.90 < np.mean(slopes) < 0.985


def test_shape_is_missing_where_the_curve_is_flat():
    values = (
        np.where(TIMES < 1000, LOG, np.log(1000))
        + 0.01 * simulate(WHITE, TIMES, 1, rng=np.random.default_rng(2))[0]
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
