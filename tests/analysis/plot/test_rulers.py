import numpy as np
import pytest
from matplotlib.figure import Figure

import ultraslow as us
from ultraslow.analysis.intervals import CONTRADICTED, UNDECIDABLE
from ultraslow.analysis.plot import look
from ultraslow.analysis.plot.rulers import ruler, verdicts
from ultraslow.analysis.predictions.verdict import Verdict


def beam():
    return Figure(figsize=(360 / 96, 76 / 96), dpi=96).add_axes((0.02, 0.3, 0.96, 0.5))


def verdict(**fields):
    given = {
        "effect": 2.95,
        "effect_low": 2.8,
        "effect_high": 3.1,
        "null": (1 / 1.1, 1.1),
        "effect_meaning": "ratio of distances",
        "verdict": CONTRADICTED,
    } | fields
    return Verdict("P2", "claim", reason="", **given)


def in_data(axes, line):
    to_data = (axes.transAxes + axes.transData.inverted()).transform
    return [to_data((x, 0.5))[0] for x in line.get_xdata()]


def test_a_ruler_shows_zone_interval_and_estimate_to_scale():
    axes = beam()
    assert ruler(verdict(), axes) is axes
    assert axes.get_xscale() == "log"
    (zone,) = axes.patches
    assert (zone.get_x(), zone.get_x() + zone.get_width()) == pytest.approx((1 / 1.1, 1.1))
    bar, tick = axes.lines
    assert in_data(axes, bar) == pytest.approx([2.8, 3.1])
    assert in_data(axes, tick) == pytest.approx([2.95, 2.95])
    assert bar.get_color() == look.LIGHT["contradicted"]
    assert "0.909 to 1.1" in [text.get_text() for text in axes.texts]


def test_a_short_interval_can_still_be_seen():
    axes = beam()
    ruler(verdict(effect_low=2.949, effect_high=2.951), axes)
    left, right = (axes.transAxes.transform((x, 0))[0] for x in axes.lines[0].get_xdata())
    assert right - left == pytest.approx(5.0, abs=0.1)


def test_open_ends_are_arrowheads_and_exponents_are_linear():
    axes = beam()
    open_ended = {"effect": 0.2, "effect_low": -np.inf, "effect_high": 0.4, "null": (-0.05, 0.05)}
    ruler(verdict(effect_meaning="exponent p", verdict=UNDECIDABLE, **open_ended), axes)
    assert axes.get_xscale() == "linear"
    assert [line.get_marker() for line in axes.lines].count(4) == 1
    assert axes.lines[0].get_color() == look.LIGHT["undecidable"]


def test_a_verdict_without_an_estimate_says_so():
    axes = beam()
    nothing = dict.fromkeys(("effect", "effect_low", "effect_high"), np.nan)
    ruler(verdict(verdict=UNDECIDABLE, null=(np.nan, np.nan), **nothing), axes)
    assert [text.get_text() for text in axes.texts] == ["no estimate"]


def test_all_verdicts_have_a_mark_a_word_and_what_was_found(tree, axes):
    found = us.test(tree)
    verdicts(found, axes)
    shown = [text.get_text() for text in axes.texts]
    for name in found["prediction"].values.tolist():
        assert name.replace("'", "′") in shown
    assert shown.count("undecidable") == int((found["verdict"] == "undecidable").sum())
    row = found.sel(prediction="P2").isel(set=0)
    assert us.plot.ruler(row, beam()).lines or not np.isfinite(row["effect"])
