import numpy as np
import pytest

from diffusion import ranges


@pytest.mark.parametrize(
    ("value", "closed", "inside"),
    [
        (0.0, (False, False), False),
        (0.0, (True, False), True),
        (2.0, (True, False), False),
        (2.0, (False, True), True),
        (1.0, (False, False), True),
        (float("nan"), (True, True), False),
        (float("inf"), (True, True), False),
    ],
)
def test_ends_belong_only_where_closed(value, closed, inside):
    if inside:
        assert ranges.between(value, "x", 0, 2, closed=closed) == value
    else:
        with pytest.raises(ValueError, match=r"x: found .*, expected a value in .0, 2."):
            ranges.between(value, "x", 0, 2, closed=closed)


def test_infinity_is_no_positive_number():
    with pytest.raises(ValueError, match="rate: found inf"):
        ranges.positive(np.inf, "rate")


def test_iterations_are_whole_and_increase_from_zero():
    np.testing.assert_array_equal(ranges.iterations(np.array([0.0, 3.0]), "records"), [0, 3])
    for wrong, message in (
        ([0, 0.5], "records: found 0.5, expected iterations >= 0"),
        ([-0.5, 1], "records: found -0.5"),
        ([-1, 0], "records: found -1, expected iterations >= 0"),
        ([0, np.nan], "records: found nan, expected finite values"),
        ([2, 2], "records: 2 is followed by 2"),
    ):
        with pytest.raises(ValueError, match=message):
            ranges.iterations(wrong, "records")


def test_negative_and_missing_numbers_are_named():
    np.testing.assert_array_equal(ranges.none_negative([[0.0, 2.0]], "noise"), [[0.0, 2.0]])
    for wrong in (-1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match=f"noise: found {wrong:g}, expected finite"):
            ranges.none_negative([1.0, wrong], "noise")


@pytest.mark.parametrize("wrong", [["a", 1.0], [[1.0], [1.0, 2.0]], [1j], [{}]])
@pytest.mark.parametrize(
    "check", [ranges.increasing, ranges.all_finite, ranges.none_negative, ranges.all_positive]
)
def test_what_is_no_number_is_named(check, wrong):
    with pytest.raises(TypeError, match=r"times: found .*, expected numbers"):
        check(wrong, "times")


def test_text_is_no_number():
    for check in (ranges.positive, ranges.count, ranges.whole):
        with pytest.raises(TypeError, match="alpha: found '1', expected one number"):
            check("1", "alpha")


def test_counts_are_whole():
    assert ranges.count(3, "n") == 3
    for wrong in (0, 2.5, -1):
        with pytest.raises(ValueError, match=f"n: found {wrong}"):
            ranges.count(wrong, "n")
