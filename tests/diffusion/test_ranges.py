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


def test_counts_are_whole():
    assert ranges.count(3, "n") == 3
    for wrong in (0, 2.5, -1):
        with pytest.raises(ValueError, match=f"n: found {wrong}"):
            ranges.count(wrong, "n")
