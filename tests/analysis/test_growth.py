"""Known answers of the growth fit, its intervals, its statuses and its messages."""

import numpy as np
import pytest
import xarray as xr

from analysis.growth import fit_growth

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
    assert fit.onset.item() == pytest.approx(onset, abs=1e-4 * (10 + onset))
    assert fit.slope.item() == pytest.approx(2.0, rel=1e-4)
    assert fit.offset.item() == pytest.approx(0.5, rel=1e-3)
    assert fit.status.item() == "ok"


@pytest.mark.parametrize("exponent", [1.0, 1.3])
def test_exact_fast_growth_is_recovered_where_the_onset_is_known(exponent):
    fit = fit_growth(series(law(TIMES, exponent)), onset=0.0, calibrate=False)
    assert abs(fit.exponent.item() - exponent) < 1e-6
