import numpy as np
import pytest
from matplotlib.figure import Figure

from ultraslow.analysis.plot import look


def luminance(colour):
    """Relative luminance of sRGB (WCAG 2.2)."""
    parts = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(one, other):
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [0, 1])
def test_marks_and_texts_can_be_told_from_the_paper(theme):
    paper = look.COLOURS["paper"][theme]
    for role, colours in look.COLOURS.items():
        found = contrast(colours[theme], paper)
        if role in ("ink", "quiet", "link", "contradicted", "supported", "undecidable"):
            assert found >= 4.5, role
        if role.startswith("b") or role == "axis":
            assert found >= 3.0, role


def test_batch_sizes_have_a_colour_and_a_mark_each():
    for count in (1, 5, 8, 40):
        looks = {
            (look.hue(rank, count), str(np.asarray(look.mark(rank)).tolist()))
            for rank in range(count)
        }
        assert len(looks) == count
    colours = [look.hue(rank, 8) for rank in range(8)]
    assert len(set(colours)) == 8


@pytest.mark.parametrize("rank", range(8))
def test_marks_are_of_about_equal_area(rank):
    shape = look.mark(rank)
    if isinstance(shape, str):
        return
    x, y = shape.vertices.T
    area = abs(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1])) / 2
    assert area == pytest.approx(np.pi, rel=0.3)


def test_ticks_are_round_and_not_crowded():
    assert look.decades(1, 1e9, 4) == [1.0, 1e3, 1e6, 1e9]
    assert look.decades(12, 55, 6) == [15.0, 20.0, 30.0, 40.0]
    assert len(look.decades(3.1, 3.9, 5)) >= 2 or look.decades(3.1, 3.9, 5) == []
    assert look.rounds(0, 0.3, 4) == pytest.approx([0, 0.1, 0.2, 0.3])


def test_names_of_files_are_no_formulas():
    axes = Figure().add_subplot()
    text = look.write(axes, (0, 0), "$x_1$")
    assert text.get_text() == "$x_1$"
    assert not text.get_parse_math()
    assert list(axes.texts) == [text]
