import numpy as np
import pytest
import xarray as xr
from scipy import stats

from analysis.curves import Arm
from analysis.exponents import across_seeds, within_run

ARM = Arm(64, "sqrt", 0.1)


def fits(exponents, **columns):
    exponents = np.asarray(exponents, dtype=float)
    values = {
        "exponent": exponents,
        "exponent_low": exponents - 0.1,
        "exponent_high": exponents + 0.3,
        "detectable": np.full(exponents.size, 0.28),
        "grown_decades": np.full(exponents.size, 3.0),
        **columns,
    }
    names = [f"r{k}" for k in range(exponents.size)]
    return xr.Dataset(
        {name: ("node", value) for name, value in values.items()},
        coords={"node": names, "run": ("node", names)},
    )


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_across_seeds_is_students_interval_of_the_mean(level):
    exponents = np.random.default_rng(0).normal(0.1, 0.05, 6)
    found = across_seeds(ARM, fits(exponents), level=level)
    expected = stats.ttest_1samp(exponents, 0).confidence_interval(level)
    np.testing.assert_allclose([found.low, found.high], expected, rtol=1e-12)
    assert (found.exponent, found.seeds) == (pytest.approx(exponents.mean()), 6)
    assert found.name == "mean of 6 seeds at batch size 64"


def test_across_seeds_counts_the_decades_of_the_shortest_run():
    columns = {"grown_decades": [3.0, 2.6, 4.0], "decades": [1.0, 5.0, 5.0]}
    found = across_seeds(ARM, fits([0, 1, 2], **columns), level=0.95)
    assert found.decades == 2.6


def test_a_single_run_keeps_the_interval_of_its_fit():
    found = within_run(fits([0.2]).isel(node=0))
    assert (found.low, found.high) == (pytest.approx(0.1), pytest.approx(0.5))
    assert found.error == pytest.approx(0.1)  # 2.8 standard errors are told from 0
    assert (found.name, found.seeds) == ("run r0", 1)


@pytest.mark.parametrize(("low", "high", "farthest"), [(-0.3, 0.1, 0.3), (0.1, 0.2, 0.2)])
def test_the_far_end_is_the_one_farther_from_log_growth(low, high, farthest):
    one = fits([0.0], exponent_low=[low], exponent_high=[high])
    assert within_run(one.isel(node=0)).farthest == pytest.approx(farthest)
