import math
import re

import pytest
from hypothesis import given, strategies as st

from ultraslow.analysis.intervals import Interval
from ultraslow.analysis.report.page.rulers import (
    LARGE,
    Zone,
    gauge,
    row,
    ruler,
    shown,
    ticks,
)

CURVE = Zone(1 / 1.1, 1.1, "one curve: 0.91 to 1.1", ratio=True)


def places(svg, kind):
    """Left and right end of a rectangle."""
    found = re.search(rf'<rect class="{kind}" x="([\d.]+)" y="[\d.]+" width="([\d.]+)"', svg)
    left, width = map(float, found.groups())
    return left, left + width


def test_a_ratio_lies_on_its_ruler_where_its_logarithm_says():
    svg = str(ruler(Interval(2.0, 1.5, 3.0), CURVE, title="t"))
    zone, bar = places(svg, "f-zone"), places(svg, "span")
    per_log = (zone[1] - zone[0]) / math.log(1.1 * 1.1)
    tick = float(re.search(r'class="tick" d="M([\d.]+)', svg)[1])
    assert bar[1] - bar[0] == pytest.approx(per_log * math.log(2.0), abs=0.5)
    assert tick - bar[0] == pytest.approx(per_log * math.log(2.0 / 1.5), abs=0.5)
    assert bar[0] - zone[1] == pytest.approx(per_log * math.log(1.5 / 1.1), abs=0.5)
    assert "2.00 [1.50, 3.00]. Shaded, where the claim would hold: one curve" in svg


def test_an_interval_that_lies_in_the_zone_is_drawn_in_it():
    svg = str(ruler(Interval(1.0, 0.95, 1.05), CURVE, title="t"))
    zone, bar = places(svg, "f-zone"), places(svg, "span")
    assert zone[0] < bar[0] < bar[1] < zone[1]


def test_a_narrow_interval_can_be_seen():
    bar = places(str(ruler(Interval(2.0, 1.9999, 2.0001), CURVE, title="t")), "span")
    assert bar[1] - bar[0] == pytest.approx(5, abs=0.11)


def test_an_open_interval_ends_in_an_arrow_head():
    assert str(ruler(Interval(2.0, 1.5, math.inf), CURVE, title="t")).count('class="tip"') == 1
    assert str(ruler(Interval(2.0, 1.5, 3.0), CURVE, title="t")).count('class="tip"') == 0


NUMBERS = st.floats(1e-6, 1e6)


@given(st.tuples(NUMBERS, NUMBERS, NUMBERS), st.booleans(), st.booleans())
def test_nothing_is_drawn_beside_the_ruler(values, ratio, small):
    low, value, high = sorted(values)
    zone = Zone(1 / 3, 3.0, "agree: 0.33 to 3", ratio=ratio)
    svg = str(ruler(Interval(value, low, high), zone, title="t", small=small))
    for x, width in re.findall(r'<rect[^>]* x="([\d.-]+)" y="[\d.]+" width="([\d.-]+)"', svg):
        assert float(x) >= -3
        assert float(width) > 0
        assert float(x) + float(width) <= LARGE + 3
    assert "nan" not in svg


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (Interval(-0.0177, -0.0477, 0.0179), "falls short: 0.01 or more"),
        (Interval(0.0481, 0.0377, 0.0585), "no gap: below 0.01"),
    ],
)
def test_numbers_and_the_words_of_the_zone_do_not_touch(found, text):
    drawn = ruler(found, Zone(0.01, math.inf, text), title="gap", small=True)
    height = {
        kind: float(re.search(rf'<text class="f-{kind}" x="[^"]+" y="([^"]+)"', drawn)[1])
        for kind in ("ink b", "quiet end")
    }
    apart = height["quiet end"] - height["ink b"] >= 14
    assert apart or 5.8 * len(text) + 5.8 * len(str(found)) < 262


def test_a_gauge_is_filled_by_its_share_and_no_further():
    half = str(gauge(2.0, 4.0, had="2 seeds", goal="needs 4", title="P4: seeds"))
    full = str(gauge(9.0, 4.0, had="9 seeds", goal="needs 4", title="P4: seeds"))
    none = str(gauge(0.0, 4.0, had="0 seeds", goal="needs 4", title="P4: seeds"))
    assert [float(re.search(r'f-axis"[^>]*width="([\d.]+)', one)[1]) for one in (half, full)] == [
        130,
        260,
    ]
    assert "f-axis" not in none
    assert "<desc>2 seeds, needs 4.</desc>" in half


def test_a_gain_is_heavy_where_its_interval_excludes_0():
    assert "clear" in row(Interval(0.1, 0.05, 0.2), (-0.1, 0.3))
    assert "clear" not in row(Interval(0.1, -0.05, 0.2), (-0.1, 0.3))
    assert "circle" not in row(Interval(math.nan, math.nan, math.nan), (-0.1, 0.3))


@given(st.floats(1e-3, 1e3), st.floats(1.05, 1e6), st.booleans())
def test_a_ruler_has_two_to_ten_round_numbers(low, factor, log):
    found = ticks(low, low * factor, log=log)
    assert 2 <= len(found) <= 16
    assert all(low * (1 - 1e-6) <= x <= low * factor * (1 + 1e-6) for x in found)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (math.inf, "∞"),
        (-math.inf, "−∞"),
        (math.nan, "–"),
        (9995.0, "10\u202f000"),
        (9994.0, "9990"),
    ],
)
def test_numbers_have_three_digits(value, text):
    assert shown(value) == text
