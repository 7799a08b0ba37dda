"""What gradients were multiplied by is told from clipping and from rounding."""

import math

import numpy as np
import pytest

from ultraslow.probes.buffer.multiples import Multiples


def told(factors, *, share=1.0, changed=1.0):
    """What is found of updates in turn, whose gradients have different norms."""
    known, found = Multiples(), []
    for number, factor in enumerate(factors):
        norm_sq = 1.0 + 0.1 * number
        known, one = known.after(float(factor), share=share, changed=changed, norm_sq=norm_sq)
        found.append(one)
    return found


@pytest.mark.parametrize("scale", [2.0**-7, 2.0**-16, 1 / 100, 3.0])
def test_round_scales_are_known_at_sight(scale):
    rounding = 1 + 1e-9 * np.random.default_rng(0).standard_normal(6)
    for one in told(scale * rounding):
        assert one.sure and one.multiple == pytest.approx(scale, rel=1e-8)


def test_any_other_scale_is_known_when_it_comes_again():
    first, *rest = told([1 / 37.3] * 5)
    assert not first.sure
    assert all(one.sure and one.multiple == pytest.approx(1 / 37.3) for one in rest)


@pytest.mark.parametrize("size", [1e-8, 2e-7, 2e-6])
def test_rounding_is_no_scale(size):
    """Sums over processes in another order differ from the gradient by as much."""
    rounding = 1 + size * np.random.default_rng(1).integers(-1, 2, 40)
    for share in (1.0, 0.25):
        assert not any(one.sure for one in told(rounding, share=share))


def test_clipping_is_no_scale():
    factors = np.random.default_rng(2).uniform(0.05, 0.9, 200)
    found = told(factors)
    assert not any(one.sure for one in found)
    assert all(one.multiple == 1.0 or math.isnan(one.multiple) for one in found)
