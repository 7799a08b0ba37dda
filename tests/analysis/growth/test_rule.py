import pytest

from ultraslow.analysis.growth.rule import MARGIN, judged, too_few
from ultraslow.analysis.intervals import Interval


def at(*centres, half):
    """Intervals whose half width is that of the level: `half` at 0.95, three times it beyond."""
    return lambda level: [Interval.around(c, _width(level, half)) for c in centres]


def _width(level, half):
    return half if level == 0.95 else 3 * half


def test_intervals_inside_the_margin_support_at_the_level_asked_for():
    intervals, words = judged(at(0.0, 0.02, half=0.01), level=0.95)
    assert words == ["supported", "supported"]
    assert intervals[0] == Interval(0.0, -0.01, 0.01)


def test_one_beyond_the_margin_widens_all_of_them():
    # 0.1 − 0.02 > 0.05, and 0.1 − 3·0.02 < 0.05: not beyond it when the intervals hold jointly.
    intervals, words = judged(at(0.0, 0.1, half=0.02), level=0.95)
    assert words == ["undecidable", "undecidable"]
    assert (intervals[1].low, intervals[1].high) == pytest.approx((0.04, 0.16))
    assert judged(at(0.0, 0.2, half=0.02), level=0.95)[1] == ["undecidable", "contradicted"]
    assert judged(at(-0.2, half=0.02), level=0.95)[1] == ["contradicted"]


def test_half_the_error_is_shared_among_the_intervals():
    asked = []

    def noted(level):
        asked.append(level)
        return [Interval(0.35, 0.3, 0.4), Interval(0.005, 0.0, 0.01)]

    judged(noted, level=0.95)
    assert asked == [0.95, pytest.approx(1 - 0.05 / 4)]


def test_the_margin_can_be_chosen():
    assert judged(at(0.1, half=0.01), level=0.95, margin=0.2)[1] == ["supported"]
    # 0.22 − 0.01 > 0.2 > 0.22 − 0.03: the margin is that of the wider intervals as well.
    assert judged(at(0.22, half=0.01), level=0.95, margin=0.2)[1] == ["undecidable"]
    assert MARGIN == 0.05


@pytest.mark.parametrize(
    ("kept", "left_out", "few"),
    [(0, 0, True), (0, 1, True), (1, 0, False), (2, 2, False), (2, 3, True), (3, 2, False)],
)
def test_the_rest_must_be_half_of_the_runs_at_least(kept, left_out, few):
    assert too_few(kept, left_out) is few
