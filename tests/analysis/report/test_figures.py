import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from ultraslow.analysis import plot
from ultraslow.analysis.intervals import Interval
from ultraslow.analysis.report import figures
from ultraslow.analysis.report.data import Band, Dot, Local, Rivals

T = np.array([1.0, 3, 10, 30, 100, 1000])
SIZES = (64, 256, 1024)
COLOURS = figures.palette(SIZES)
CLASSES = {f"{kind}-{role}" for kind in "fs" for role in plot.COLOURS} | {"wide", "narrow"}


def band(factor=1.0):
    middle = factor * (1 + np.log(T))
    return Band(T, middle, 0.9 * middle, 1.1 * middle)


def drawings(markup):
    """The SVG elements of a figure."""
    return list(ET.fromstring(f"<figure>{markup}</figure>"))


def texts(markup):
    return [text.text for svg in drawings(markup) for text in svg.iter("text")]


def classes(markup):
    every = (e.get("class") or "" for svg in drawings(markup) for e in svg.iter())
    return [name for one in every for name in one.split()]


def rivals(ratio=2.0, faster=True):
    steps = np.array([[800.0, 7.0], [80.0, 5.0], [8.0, 4.0]])
    flat = Band(T, 0 * T, 0 * T - 1, 0 * T + 1)
    laws = "log(t + 500)", "t^0.5"
    curves = band(), 1 + np.log(T), np.sqrt(T)
    return Rivals(
        "M 64", "supported", 64, 4, *curves, faster, laws, (flat, flat), (2.3, 1.1), steps, ratio
    )


def exponents(dots, rows=("a",)):
    return figures.exponent_dots(dots, rows, margin=0.05, colours=COLOURS, name="e")


DRAWN = {
    "rivals": lambda: figures.rivals_panel(rivals(), colour=COLOURS[64]),
    "residuals": lambda: figures.residual_panel(rivals()),
    "exponents": lambda: exponents([Dot(0, 64, Interval(0.1, -0.1, 0.2))]),
    "local": lambda: figures.local_panel(
        Local(64, "sqrt", 4, band(), 0 * T), colour=COLOURS[64], span=(-0.5, 2.0)
    ),
}


@pytest.mark.parametrize("name", DRAWN)
def test_every_drawing_says_what_it_is_and_takes_its_colours_from_the_page(name):
    from matplotlib import pyplot

    markup = DRAWN[name]()
    assert pyplot.get_fignums() == []
    assert "style=" not in markup
    assert "#" not in markup
    assert set(classes(markup)) <= CLASSES
    for svg in drawings(markup):
        assert svg.get("role") == "img"
        assert svg.find("title").text
        assert re.search(r"\d", svg.find("desc").text)
        named = [svg.find(tag).get("id") for tag in ("title", "desc")]
        assert svg.get("aria-labelledby").split() == named
    assert markup == DRAWN[name]()  # equal numbers give equal figures


def test_a_figure_is_drawn_for_wide_and_for_narrow_windows():
    def paint(axes):
        paint.sizes.append(plot.look.size_of(axes)[0])

    paint.sizes = []
    told = {"name": "a", "title": "t", "description": "d"}
    both = drawings(figures.figure(paint, wide=(540, 300), narrow=(360, 280), **told))
    assert [(svg.get("class"), svg.get("viewBox")) for svg in both] == [
        ("wide", "0 0 540 300"),
        ("narrow", "0 0 360 280"),
    ]
    assert max(paint.sizes) > 400 > min(paint.sizes)
    ids = [e.get("id") for svg in both for e in svg.iter() if e.get("id")]
    assert len(set(ids)) == len(ids) == 4
    (one,) = drawings(figures.figure(paint, wide=(268, 200), **told))
    assert one.get("class") is None


def test_a_palette_goes_by_rank():
    assert list(figures.palette([1024, 64, 256, 64])) == [64, 256, 1024]
    assert figures.palette([8]) == {8: COLOURS[64]}


def test_an_estimate_that_failed_leaves_its_row_empty():
    nan = float("nan")
    drawn = exponents(
        [Dot(0, 64, Interval(0.1, 0.0, 0.2)), Dot(1, 256, Interval(nan, nan, nan))], ["a", "b"]
    )
    assert "s-b0" in classes(drawn)
    assert not {"s-b1", "f-b1"} & set(classes(drawn))
    assert {"a", "b"} <= set(texts(drawn))


def test_estimates_of_one_tensor_share_its_row():
    dots = [Dot(k, size, Interval(0.1, 0.0, 0.2)) for k, size in enumerate(SIZES)]
    svg = drawings(exponents(dots, ["w", "", ""]))[0]
    (one,) = [text for text in svg.iter("text") if text.text == "w"]
    circles = [p for p in svg.iter("path") if p.get("stroke-linecap") == "round"]
    (middle,) = {float(re.findall(r"[\d.]+", p.get("d"))[1]) for p in circles}
    assert middle == pytest.approx(float(one.get("y")) - 4, abs=2)


def test_laws_out_of_sight_are_not_named():
    near = texts(exponents([Dot(0, 64, Interval(0.1, 0.0, 0.2))]))
    assert {"log t", "√t"} <= set(near)
    assert "t" not in near
    assert "t" in texts(exponents([Dot(0, 64, Interval(1.0, 0.9, 1.1))]))


def test_a_name_that_looks_like_a_formula_is_text():
    drawn = exponents([Dot(0, 64, Interval(0.1, 0.0, 0.2))], [r"$\frac{x}{$ <b>"])
    assert r"$\frac{x}{$ <b>" in texts(drawn)


def test_the_rivals_are_named_with_their_laws_and_the_last_decade_with_its_factor():
    drawn = figures.rivals_panel(rivals(), colour=COLOURS[64])
    assert {"late logarithm: log(t + 500)", "power of t: t^0.5", "× 1", "× 2.00"} <= set(
        texts(drawn)
    )
    assert "2.00 times as much" in drawings(drawn)[0].find("desc").text
    slower = texts(figures.residual_panel(rivals(ratio=0.5, faster=False)))
    assert {"late logarithm: off by 2.3 %", "saturating law: off by 1.1 %"} <= set(slower)
