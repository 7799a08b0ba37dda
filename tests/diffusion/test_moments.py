import numpy as np
import pytest

from ultraslow.diffusion.moments import add_rows, extend, merge, moments, nothing

ROWS = np.random.default_rng(0).normal(size=(50, 3)) + 1e6


@pytest.mark.parametrize("cut", [0, 1, 25, 50])
def test_merging_equals_taking_all_rows_at_once(cut):
    merged = merge(moments(ROWS[:cut]), moments(ROWS[cut:]))
    assert merged.count == 50
    np.testing.assert_allclose(merged.mean, ROWS.mean(axis=0), rtol=1e-15)
    # A sum of squares would keep 16 − 12 = 4 digits here: the mean is 10⁶ standard deviations.
    np.testing.assert_allclose(merged.covariance, np.cov(ROWS.T), rtol=1e-8)


@pytest.mark.parametrize("cut", [0, 1, 25, 50])
def test_rows_one_after_the_other_give_the_same_bits_in_any_chunks(cut):
    whole = extend(nothing(3), ROWS)
    parts = extend(extend(nothing(3), ROWS[:cut]), ROWS[cut:])
    assert parts.count == whole.count == 50
    np.testing.assert_array_equal(parts.mean, whole.mean)
    np.testing.assert_array_equal(parts.scatter, whole.scatter)
    np.testing.assert_allclose(whole.covariance, np.cov(ROWS.T), rtol=1e-8)
    sums = add_rows(add_rows(ROWS[0], ROWS[1:cut]), ROWS[max(cut, 1) :])
    expected = ROWS[0]
    for row in ROWS[1:]:
        expected = expected + row
    np.testing.assert_array_equal(sums, expected)


@pytest.mark.parametrize("take", [moments, lambda rows: extend(nothing(2), rows)])
def test_rows_that_are_not_finite_are_left_out_whole(take):
    found = take([[1.0, 2.0], [np.nan, 5.0], [3.0, np.inf], [5.0, 4.0]])
    assert found.count == 2
    assert found.mean.tolist() == [3.0, 3.0]
    assert found.scatter.tolist() == [[8.0, 4.0], [4.0, 2.0]]


def test_nothing_is_neutral_and_has_no_variance():
    some = moments(ROWS)
    for merged in (merge(nothing(3), some), merge(some, nothing(3))):
        np.testing.assert_array_equal(merged.mean, some.mean)
        np.testing.assert_array_equal(merged.scatter, some.scatter)
    assert np.isnan(nothing(2).covariance).all()
    assert np.isnan(moments(ROWS[:1]).covariance).all()
