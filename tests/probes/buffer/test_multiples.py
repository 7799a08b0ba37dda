"""What gradients were multiplied by is told from clipping and from rounding."""

import math

import numpy as np
import pytest

from ultraslow.probes.buffer.multiples import Multiples


def told(factors, *, share=1.0, changed=1.0, norms=None):
    """What is found of updates in turn, whose gradients have different norms."""
    known, found = Multiples(), []
    for number, factor in enumerate(factors):
        norm_sq = 1.0 + 0.1 * number if norms is None else float(norms[number]) ** 2
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
    found = told(factors, norms=1 / factors)
    assert not any(one.sure for one in found)
    assert all(one.multiple == 1.0 or math.isnan(one.multiple) for one in found)


def tokens(seed, updates, usual=300.0):
    """Numbers of tokens of updates, and the norms of the mean gradient over them."""
    rng = np.random.default_rng(seed)
    return rng.integers(0.5 * usual, 1.5 * usual, updates), np.exp(0.3 * rng.normal(size=updates))


@pytest.mark.parametrize("usual", [50, 300, 20_000])
@pytest.mark.parametrize("seed", range(5))
def test_numbers_of_tokens_are_known_after_a_few(usual, seed):
    counts, norms = tokens(seed, 60, usual)
    found = told(1 / counts, norms=norms * counts)
    right = [one.multiple == pytest.approx(1 / n) for one, n in zip(found, counts, strict=True)]
    left_out = [math.isnan(one.multiple) for one in found]
    assert all(a or b for a, b in zip(right[6:], left_out[6:], strict=True))
    assert sum(left_out) <= 8
    wrong = [at for at, one in enumerate(right) if not one and not left_out[at]]
    assert max(one.earlier for one in found) >= len(wrong)  # there may be short ones, as 1/250


@pytest.mark.parametrize("changed", [1.0, 2.0])  # what is written to `.data` is not seen to change
@pytest.mark.parametrize("seed", range(5))
def test_numbers_of_tokens_and_clipping_are_right_or_left_out(seed, changed):
    counts, norms = tokens(seed, 400)
    clipping = np.minimum(1.0, 1.2 / norms)
    found = told(clipping / counts, norms=norms * counts, changed=changed)
    late = [(one, at) for at, one in enumerate(found) if at > 60]
    known = [(one, at) for one, at in late if not math.isnan(one.multiple)]
    assert all(one.multiple == pytest.approx(1 / counts[at]) for one, at in known)
    assert len(known) > 0.6 * len(late)  # as many as are not clipped, but for the largest


@pytest.mark.parametrize("limit", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("rounding", [1e-7, 1e-3])
@pytest.mark.parametrize("seed", range(3))
def test_clipping_by_the_norm_is_none_of_them(limit, rounding, seed):
    rng = np.random.default_rng(seed)
    norms = np.exp(0.5 * rng.normal(size=400))
    factors = np.minimum(1.0, limit / norms)
    factors[factors < 1] *= 1 + rounding * rng.normal(size=(factors < 1).sum())
    assert {one.multiple for one in told(factors, norms=norms)} == {1.0}


@pytest.mark.parametrize("changed", [1.0, 2.0])
def test_clipping_beside_a_constant_multiple_is_none_of_them(changed):
    norms = np.exp(0.5 * np.random.default_rng(3).normal(size=300))
    factors = np.minimum(1.0, 1.0 / norms) / 37.3
    found = told(factors, norms=37.3 * norms, changed=changed)
    assert not any(one.varies for one in found)
    assert [one.multiple for one in found[30:]] == pytest.approx([1 / 37.3] * 270)


def test_what_is_larger_than_clipping_can_be_is_a_multiple():
    """Unless it was clipped as well."""
    factors = [5.313, 3.771, 9.117]
    assert [one.multiple for one in told(factors)] == factors
    assert all(math.isnan(one.multiple) for one in told(factors, changed=2.0))
    found = told([1 / 128, 1 / 128, 0.3 / 128, 1 / 77.7])
    assert [one.multiple for one in found] == [1 / 128] * 3 + [1 / 77.7]
