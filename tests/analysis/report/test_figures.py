import re
import xml.etree.ElementTree as ET

import matplotlib as mpl
import numpy as np
import pytest

from ultraslow.analysis.intervals import Interval
from ultraslow.analysis.report import figures
from ultraslow.analysis.report.data import Band, Curve, Dot, Local, Rivals
from ultraslow.analysis.report.distances import Panel
from ultraslow.analysis.report.figures import FAINT, INK, METADATA, QUIET, RULE, STYLE

T = np.array([1.0, 3, 10, 30, 100, 1000])
SIZES = (64, 256, 1024)
COLOURS = figures.palette(SIZES)


def curve(size=64, factor=1.0, iteration=T):
    return Curve(size, iteration, factor * (1 + np.log(iteration)))


def band(factor=1.0):
    middle = factor * (1 + np.log(T))
    return Band(T, middle, 0.9 * middle, 1.1 * middle)


def elements(svg, name):
    return [e for e in ET.fromstring(svg).iter() if e.tag.rpartition("}")[2] == name]


def groups(svg, start):
    """Groups of the drawing, by the beginning of their identifier."""
    return [g for g in elements(svg, "g") if g.get("id", "").startswith(start)]


def strokes(svg, colour):
    """Lines drawn in a colour."""
    return sum(f"stroke: {colour}" in (path.get("style") or "") for path in elements(svg, "path"))


def markers(svg, colour):
    return sum(f"fill: {colour}" in (use.get("style") or "") for use in elements(svg, "use"))


def texts(svg):
    return ["".join(text.itertext()).strip() for text in elements(svg, "text")]


def distance(**options):
    curves, fits = options.pop("curves", [curve()]), options.pop("fits", [])
    shown = Panel(64, options.pop("part", ""), curves, options.pop("behind", []), fits)
    return figures.distance_panel(shown, **{"top": 10.0, "colour": COLOURS[64]} | options)


def rivals(ratio=2.0, faster=True):
    steps = np.array([[800.0, 7.0], [80.0, 5.0], [8.0, 4.0]])
    flat = Band(T, 0 * T, 0 * T - 1, 0 * T + 1)
    laws = "log(t + 500)", "t^0.5"
    curves = band(), 1 + np.log(T), np.sqrt(T)
    return Rivals(
        "M 64", "supported", 64, 4, *curves, faster, laws, (flat, flat), (2.3, 1.1), steps, ratio
    )


DRAWN = {
    "rivals": lambda: figures.rivals_panel(rivals(), colour=COLOURS[64]),
    "residuals": lambda: figures.residual_panel(rivals()),
    "distance": lambda: distance(fits=[band()]),
    "together": lambda: figures.all_runs(
        [curve(size) for size in SIZES], colours=COLOURS, title="x", log=True
    ),
    "ratios": lambda: figures.ratio_curves([curve()], margin=0.1, span=(10, 100), colours=COLOURS),
    "exponents": lambda: figures.exponent_dots(
        [Dot(0, 64, Interval(0.1, -0.1, 0.2))], ["a"], margin=0.05, colours=COLOURS, name="e"
    ),
    "local": lambda: figures.local_panel(
        Local(64, "sqrt", 4, band(), 0 * T), colour=COLOURS[64], span=(-0.5, 2.0)
    ),
    "noise": lambda: figures.noise_panel(
        band(), batch_size=64, limits=(0.1, 100), colour=COLOURS[64]
    ),
}


@pytest.mark.parametrize("name", DRAWN)
def test_every_figure_is_one_pair_of_axes_and_leaves_no_trace(name):
    from matplotlib import pyplot

    before = dict(mpl.rcParams)
    svg = DRAWN[name]()
    assert dict(mpl.rcParams) == before
    assert pyplot.get_fignums() == []
    assert len(groups(svg, "axes_")) == 1
    assert not {"width", "height"} & set(ET.fromstring(svg).attrib)
    assert svg == DRAWN[name]()  # equal numbers give equal figures


@pytest.mark.parametrize("name", sorted(set(DRAWN) - {"exponents"}))
def test_time_is_logarithmic(name):
    shown = texts(DRAWN[name]())
    assert {"1", "10", "100", "1000"} <= set(shown)
    assert "iteration" in shown


def test_a_palette_goes_from_dark_to_bright_and_keeps_its_ends():
    colours = figures.palette([1024, 64, 256, 64])
    assert list(colours) == [64, 256, 1024]
    brightness = [sum(mpl.colors.to_rgb(colour)) for colour in colours.values()]
    assert brightness == sorted(brightness)
    assert len(set(figures.palette(range(1, 40)).values())) == 39
    assert figures.palette([8]) == {8: colours[64]}


def test_a_distance_panel_draws_each_run_and_each_fit_once():
    runs = [curve(factor=1 + k / 10) for k in range(3)]
    svg = distance(
        curves=runs, fits=[band(), band(1.1)], behind=[curve(256), curve(1024), curve(1024)]
    )
    assert markers(svg, COLOURS[64]) == 3 * T.size
    assert strokes(svg, FAINT) == 3
    lines = [g for g in groups(svg, "line2d_") if f"stroke: {INK}" in ET.tostring(g, "unicode")]
    assert len(lines) == 2
    assert {"batch size 64", "iteration"} <= set(texts(svg))
    named = texts(distance(part="AdamW", clock="summed learning rate Ση"))
    assert {"batch size 64, AdamW", "summed learning rate Ση"} <= set(named)


@pytest.mark.parametrize("log", [False, True])
def test_all_runs_keep_the_colour_of_their_batch_size(log):
    curves = [curve(size, 1 + k) for k, size in enumerate(SIZES) for _ in range(2)]
    svg = figures.all_runs(curves, colours=COLOURS, title="distance", log=log)
    assert [strokes(svg, COLOURS[size]) for size in SIZES] == [2, 2, 2]
    for size in SIZES:
        (name,) = [e for e in elements(svg, "text") if "".join(e.itertext()).strip() == str(size)]
        assert COLOURS[size] in name.get("style")


def test_a_curve_without_a_last_value_has_no_name_at_its_end():
    broken = Curve(256, T, np.where(T > 100, np.nan, 1.0))
    svg = figures.all_runs([curve(64), broken], colours=COLOURS, title="x", log=False)
    assert "64" in texts(svg)
    assert "256" not in texts(svg)


def test_the_ratio_figure_shows_where_the_verdict_looks():
    svg = figures.ratio_curves([curve()], margin=0.1, span=(10, 100), colours=COLOURS)
    assert sum("stroke-dasharray" in (p.get("style") or "") for p in elements(svg, "path")) == 1


def exponents(dots, rows=("a",)):
    return figures.exponent_dots(dots, rows, margin=0.05, colours=COLOURS, name="e")


def test_an_estimate_that_failed_leaves_its_row_empty():
    nan = float("nan")
    svg = exponents(
        [Dot(0, 64, Interval(0.1, 0.0, 0.2)), Dot(1, 256, Interval(nan, nan, nan))], ["a", "b"]
    )
    assert strokes(svg, COLOURS[64])
    assert not strokes(svg, COLOURS[256])
    assert {"a", "b"} <= set(texts(svg))


@pytest.mark.parametrize(
    ("low", "high", "arrows"),
    [(0.0, 0.2, 0), (-np.inf, 0.2, 1), (0.0, np.inf, 1), (np.nan, np.nan, 2)],
)
def test_an_interval_that_goes_on_ends_in_an_arrow(low, high, arrows):
    svg = exponents([Dot(0, 64, Interval(0.1, low, high))])
    assert markers(svg, COLOURS[64]) == 1 + arrows


def test_laws_out_of_sight_are_not_named():
    near = texts(exponents([Dot(0, 64, Interval(0.1, 0.0, 0.2))]))
    assert {"log t", "√t"} <= set(near)
    assert "t" not in near
    assert "t" in texts(exponents([Dot(0, 64, Interval(1.0, 0.9, 1.1))]))


def test_a_name_that_looks_like_a_formula_is_text():
    svg = exponents([Dot(0, 64, Interval(0.1, 0.0, 0.2))], [r"$\frac{x}{$ <b>"])
    assert r"$\frac{x}{$ <b>" in texts(svg)
    assert not elements(svg, "b")


def test_many_rows_make_a_taller_figure_but_not_without_end():
    def height(count):
        dots = [Dot(k, 64, Interval(0.1, 0.0, 0.2)) for k in range(count)]
        box = ET.fromstring(exponents(dots, [""] * count)).get("viewBox")
        return float(re.split(r"[ ,]+", box)[3])

    assert height(2) < height(20) < height(100)
    assert height(100) < 100 / 20 * height(20)


def test_a_noise_scale_without_upper_end_is_cut_at_the_limit():
    scale = Band(T, np.full(T.size, 50.0), np.full(T.size, 40.0), np.full(T.size, np.inf))
    svg = figures.noise_panel(scale, batch_size=64, limits=(1, 1000), colour=COLOURS[64])
    assert "M = 64" in texts(svg)
    assert "inf" not in svg
    assert markers(svg, COLOURS[64]) == T.size + 1  # and the band


PAPER = (253, 253, 252)


def luminance(colour):
    """Relative luminance as the Web Content Accessibility Guidelines 2.1 define it."""
    parts = [c / 255 for c in colour]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(colour):
    found = tuple(int(colour[k : k + 2], 16) for k in (1, 3, 5))
    bright, dark = sorted([luminance(found), luminance(PAPER)], reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def test_every_setting_is_known_to_matplotlib():
    assert set(STYLE) <= set(mpl.rcParams)
    with mpl.rc_context(STYLE):
        assert mpl.rcParams["svg.fonttype"] == "none"


@pytest.mark.parametrize("colour", [INK, QUIET])
def test_text_can_be_read_on_the_page(colour):
    assert contrast(colour) >= 4.5  # the guidelines' level AA


def test_rules_stay_behind_the_text():
    assert contrast(RULE) < contrast(QUIET) < contrast(INK)


def test_no_date_is_written():
    assert METADATA["Date"] is None


def test_the_rivals_are_named_with_their_laws_and_the_last_decade_with_its_factor():
    shown = texts(figures.rivals_panel(rivals(), colour=COLOURS[64]))
    assert {"best late logarithm: log(t + 500)", "best power of t: t^0.5", "× 1", "× 2.00"} <= set(
        shown
    )
    slower = texts(figures.residual_panel(rivals(ratio=0.5, faster=False)))
    assert {"best late logarithm: off by 2.3 %", "best saturating law: off by 1.1 %"} <= set(
        slower
    )


def test_windows_are_pale_bars_behind_their_dot():
    one = Interval(0.3, 0.2, 0.4)
    drawn = {
        ends: figures.exponent_dots(
            [Dot(0, 64, one, windows=ends)], ["a"], margin=0.05, colours=COLOURS, name="e"
        )
        for ends in ((0.1, 0.5), (np.nan, np.nan))
    }
    pale = [svg.count("stroke-opacity: 0.18") for svg in drawn.values()]
    assert pale == [1, 0]
