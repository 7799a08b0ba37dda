"""The curves of Hoffer et al. (2017), Fig. 2a, as digitized: what each batch size says of the law.

The local slope in ln t falls along the curve of batch size 64 and rises along that of 2048, so the
first bends below a logarithm and the second above. The verdict is that of `shape.bend`,
which compares the slope of the last third with that of the first and needs no law; it restates
what was seen in the figure, with an interval. The exponent of the growth family gives the same
order of batch sizes, but whether it excludes 0 depends on the onset, as the other tests show.
"""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from ultraslow.analysis.growth.fit import fit_growth
from ultraslow.analysis.growth.shape import bend

FOLDER = Path(__file__).parents[3] / "data" / "hoffer2017-fig2a"
BATCH_SIZES = (64, 128, 256, 512, 1024, 2048)


def columns(batch_size):
    """Iterations and distances."""
    return np.loadtxt(FOLDER / f"fig2a_b{batch_size}.csv", delimiter=",").T[1:]


def curve(batch_size):
    times, distances = columns(batch_size)
    return xr.DataArray(distances, {"iteration": times}, ["iteration"])


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


def test_each_batch_size_has_a_verdict():
    sides = {size: bend(*columns(size)).side for size in BATCH_SIZES}
    assert (sides[64], sides[128]) == ("below", "undecided")
    assert [sides[size] for size in (256, 512, 1024, 2048)] == 4 * ["above"]


@pytest.mark.parametrize("pieces", [1, 2, 3, 4])
def test_the_verdicts_at_both_ends_do_not_depend_on_the_spline(pieces):
    assert bend(*columns(64), pieces=pieces).side == "below"
    assert bend(*columns(2048), pieces=pieces).side == "above"


def test_without_an_onset_the_exponent_says_above_for_large_batches_only(straight):
    assert straight[64].exponent < 0
    verdicts = [verdict(straight[size]) for size in BATCH_SIZES]
    assert verdicts == 2 * ["undecided"] + 4 * ["above"]


def test_with_an_onset_it_says_below_for_the_smallest_batch(shifted):
    assert verdict(shifted[64]) == "below"


def test_an_onset_would_explain_the_large_batches(shifted):
    # ln(1 + t/τ) wins over a plain logarithm for them; with τ free their exponent is undecided.
    assert [verdict(shifted[size]) for size in (512, 1024, 2048)] == 3 * ["undecided"]
