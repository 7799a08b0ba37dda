"""The curves of Hoffer et al. (2017), Fig. 2a, as digitized: what each batch size says of the law.

The local slope in ln t falls along the curve of batch size 64 and rises along that of 2048, so the
first bends below a logarithm and the second above; that is seen in the figure and repeated here
with intervals.
"""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from analysis.growth import fit_growth

FOLDER = Path(__file__).parents[2] / "data" / "hoffer2017-fig2a"
BATCH_SIZES = (64, 128, 256, 512, 1024, 2048)


def curve(batch_size):
    table = np.loadtxt(FOLDER / f"fig2a_b{batch_size}.csv", delimiter=",")
    return xr.DataArray(table[:, 2], {"iteration": table[:, 1]}, ["iteration"])


def verdict(fit):
    """Where the curve lies beside a logarithm, by the interval of p."""
    if fit.exponent_high < 0:
        return "below"
    return "above" if fit.exponent_low > 0 else "undecided"


@pytest.fixture(scope="module")
def straight():
    """Fits against a + b ln t itself, without an onset."""
    return {size: fit_growth(curve(size), onset=0.0, draws=300) for size in BATCH_SIZES}


@pytest.fixture(scope="module")
def shifted():
    """Fits against a + b ln(t + τ) with τ free."""
    return {size: fit_growth(curve(size), draws=300) for size in BATCH_SIZES}


def test_exponents_rise_with_the_batch_size(straight):
    exponents = [straight[size].exponent.item() for size in BATCH_SIZES]
    assert exponents == sorted(exponents)


def test_the_smallest_batch_bends_below_a_logarithm(straight, shifted):
    assert straight[64].exponent < 0
    assert verdict(shifted[64]) == "below"


def test_the_largest_batch_bends_above_a_logarithm(straight):
    assert [verdict(straight[size]) for size in (256, 512, 1024, 2048)] == 4 * ["above"]


def test_an_onset_would_explain_the_large_batches(shifted):
    # ln(1 + t/τ) wins over a plain logarithm for them; with τ free their exponent is undecided.
    assert [verdict(shifted[size]) for size in (512, 1024, 2048)] == 3 * ["undecided"]
