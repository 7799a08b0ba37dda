import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from ultraslow.analysis.plot import look
from ultraslow.analysis.plot.drawing import svg

TOLD = {"name": "f", "title": "A <b> & c", "description": "from 1 to 2"}
CLASSES = {f"{kind}-{role}" for kind in "fs" for role in look.COLOURS}


def of(paint, size=(300, 200)):
    return ET.fromstring(svg(paint, size=size, **TOLD))


def paths(element, colour=""):
    return [
        p for p in element.iter("path") if not colour or f"s-{colour}" in p.get("class").split()
    ]


def framed(axes, **limits):
    look.frame(axes, **{"x": (1, 1000), "y": (0, 10), "up": "distance"} | limits)


def numbers(path):
    return np.array(re.findall(r"-?\d+\.?\d*", path.get("d")), dtype=float).reshape(-1, 2)


def test_an_svg_says_what_it_is_and_has_no_style():
    text = svg(framed, size=(300, 200), kind="wide", **TOLD)
    found = ET.fromstring(text)
    assert found.get("role") == "img"
    assert found.get("aria-labelledby") == "f-t f-d"
    assert [found.find("title").text, found.find("desc").text] == ["A <b> & c", "from 1 to 2"]
    assert found.get("viewBox") == "0 0 300 200"
    assert "style=" not in text
    assert "#" not in text
    used = {c for e in found.iter() for c in (e.get("class") or "").split()} - {"wide"}
    assert used <= CLASSES
    assert text == svg(framed, size=(300, 200), kind="wide", **TOLD)


def test_a_line_is_where_it_was_drawn():
    def paint(axes):
        framed(axes)
        axes.plot([1, 1000], [0, 10], color=look.LIGHT["b2"], linewidth=look.THIN)
        paint.box = axes.get_window_extent()

    (line,) = paths(of(paint), "b2")
    box = paint.box
    wanted = [[box.x0, 200 - box.y0], [box.x1, 200 - box.y1]]
    assert numbers(line) == pytest.approx(np.array(wanted), abs=0.06)
    assert line.get("stroke-width") == "1"
    assert line.get("fill") == "none"


def test_lines_are_cut_at_the_axes_and_broken_at_gaps():
    def paint(axes):
        framed(axes)
        axes.plot([1, 10, 30, 100, 300], [2, 3, np.nan, 20, 4], color=look.LIGHT["b0"])
        paint.box = axes.get_window_extent()

    (line,) = paths(of(paint), "b0")
    assert line.get("d").count("M") == 2
    assert numbers(line)[:, 1].min() >= 200 - paint.box.y1 - 0.1


def test_many_records_are_thinned_and_keep_their_peaks():
    time = np.geomspace(1, 1000, 100_000)
    value = 5 + np.random.default_rng(1).standard_normal(time.size)
    value[50_000] = 9.9

    def paint(axes):
        framed(axes)
        axes.plot(time, value, color=look.LIGHT["b1"])
        top, foot = axes.transData.transform((1, 9.9))[1], axes.transData.transform((1, 0))[1]
        paint.top, paint.foot = 200 - top, 200 - foot

    (line,) = paths(of(paint), "b1")
    assert len(line.get("d")) < 25_000
    assert numbers(line)[:, 1].min() == pytest.approx(paint.top, abs=0.06)


@pytest.mark.parametrize("rank", range(8))
def test_marks_are_one_path_in_the_colour_of_their_batch_size(rank):
    def paint(axes):
        framed(axes)
        axes.plot([10, 100, 100], [2, 4, 4], **look.marked(rank, 3.4, look.hue(rank, 8)))

    found = of(paint)
    kind = "s" if rank == 0 else "f"
    (drawn,) = [p for p in found.iter("path") if f"{kind}-b{rank}" in p.get("class").split()]
    assert drawn.get("d").count("M") == 2  # equal marks are drawn once


def test_hollow_marks_have_the_paper_inside():
    def paint(axes):
        framed(axes)
        axes.plot([10], [2], **look.marked(0, 4, look.hue(0, 2), hollow=True))
        axes.plot([100], [2], **look.marked(1, 4, look.hue(1, 2), hollow=True))

    found = of(paint)
    classes = [p.get("class") for p in found.iter("path")]
    assert "s-b0" in classes
    assert "s-paper" in classes
    assert "f-paper s-b1" in classes


def test_bands_are_filled_areas_inside_the_axes():
    def paint(axes):
        framed(axes)
        band = {"color": look.LIGHT["b1"], "alpha": look.BAND, "linewidth": 0}
        axes.fill_between([1, 1000], [5, 5], [50, 50], **band)
        paint.box = axes.get_window_extent()

    (area,) = [p for p in of(paint).iter("path") if p.get("class") == "f-b1"]
    assert area.get("fill-opacity") == "0.17"
    assert area.get("d").endswith("z")
    assert numbers(area)[:, 1].min() == pytest.approx(200 - paint.box.y1, abs=0.1)


def test_texts_are_anchored_cleaned_and_have_room():
    def paint(axes):
        framed(axes)
        look.write(axes, (1, 0.5), "M = 4\u202f096 \x1b[31m<i>", at="axes", offset=(8, 0))
        paint.box = axes.get_window_extent()

    found = of(paint)
    texts = {t.text: t for t in found.iter("text")}
    (long,) = [text for text in texts if text.startswith("M")]
    assert "\x1b" not in long
    assert "<i>" in long
    right = float(texts[long].get("x"))
    assert right == pytest.approx(paint.box.x1 + 8, abs=0.1)
    assert right + 100 < 300  # the axes have made room for it
    assert texts["iteration"].get("text-anchor") == "end"
    assert texts["100"].get("text-anchor") == "middle"


def test_a_crowded_figure_keeps_some_room_for_its_axes():
    def paint(axes):
        framed(axes)
        look.write(axes, (1, 0.5), "w" * 150, at="axes")
        paint.wide = axes.get_window_extent().width

    of(paint)
    assert paint.wide > 50
