import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ultraslow.analysis.plot import look
from ultraslow.analysis.plot.labels import End, name_ends


def named(ends, high=330):
    axes = Figure(figsize=(540 / 96, high / 96), dpi=96).add_axes((0.1, 0.15, 0.6, 0.75))
    look.frame(axes, x=(1, 1000), y=(0, 10), across="")
    name_ends(axes, ends)
    return axes


def heights(axes):
    """Pixels of the labels' middles."""
    found = {}
    for text in axes.texts:
        system = axes.transAxes if text.xycoords == "axes fraction" else axes.transData
        found[text.get_text()] = system.transform(text.xy)[1] + text.xyann[1] / look.PX
    return found


def test_labels_stand_at_the_ends_and_do_not_touch():
    axes = named([End(1000, 5.0, "a"), End(1000, 5.1, "b", "9"), End(1000, 9.0, "c")])
    at = heights(axes)
    assert at["c"] == np.float64(axes.transData.transform((1, 9))[1])
    places = sorted(at.values())
    assert np.diff(places).min() >= 13.9
    assert at["b"] > at["9"] > at["a"]


def test_a_curve_that_ends_early_is_named_there():
    axes = named([End(100, 5.0, "early"), End(1000, 5.0, "late")])
    (early,) = [text for text in axes.texts if text.get_text() == "early"]
    assert early.get_ha() == "right"
    assert early.xy == (100, 5.0)
    assert early.get_gid() == "halo"


def test_of_too_many_the_outermost_are_named():
    axes = named([End(1000, k / 4, f"n{k}") for k in range(40)])
    at = heights(axes)
    assert {"n0", "n39"} <= set(at)
    assert 5 < len(at) < 25
    assert np.diff(sorted(at.values())).min() >= 13.9


def test_ends_that_are_not_finite_have_no_name():
    assert not named([End(1000, np.nan, "a")]).texts


def boxes(axes):
    """Left, low, right and top of each label on the canvas, pixels."""
    renderer = axes.get_figure().canvas.get_renderer()
    found = {}
    for text in axes.texts:
        box = text.get_window_extent(renderer)
        found[text.get_text()] = (box.x0, box.y0, box.x1, box.y1)
    return found


def touch(one, other):
    """Whether two boxes share more than a pixel."""
    return (
        min(one[2], other[2]) - max(one[0], other[0])
        > 1
        < min(one[3], other[3]) - max(one[1], other[1])
    )


def drawn(curves, ends):
    """Axes with curves and names at ends, on a canvas that measures."""
    figure = Figure(figsize=(540 / 96, 330 / 96), dpi=96)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.1, 0.15, 0.6, 0.75))
    look.frame(axes, x=(1, 1000), y=(0, 10), across="")
    for x, y in curves:
        axes.plot(x, y)
    name_ends(axes, ends)
    return axes


def test_names_of_early_ends_touch_neither_each_other_nor_a_curve():
    # Two that end as high, one shortly after the other, and one that ends beneath a steep curve.
    times = np.geomspace(1, 1000, 50)
    steep = times, 10 * (times / 1000) ** 0.7
    ends = [
        End(120, 8.0, "M = 5120", "49.5, 5.2 × that of M = 32"),
        End(300, 8.1, "M = 512", "49.9, 4.2 × the line"),
        End(400, 3.0, "M = 32", "20.9, 3.9 × the line"),
    ]
    axes = drawn([steep], ends)
    found = boxes(axes)
    lines = [(one.name, one.told) for one in ends]
    for k, own in enumerate(lines):
        for others in lines[k + 1 :]:
            assert not any(touch(found[a], found[b]) for a in own for b in others), own
    points = axes.transData.transform(np.stack(steep, axis=1))
    for name in ("M = 32", "20.9, 3.9 × the line"):
        left, low, right, top = found[name]
        inside = (points[:, 0] > left) & (points[:, 0] < right)
        assert not (inside & (points[:, 1] > low) & (points[:, 1] < top)).any()


def test_a_name_with_room_to_its_left_stands_there():
    axes = drawn([], [End(100, 5.0, "early", "5")])
    assert {text.get_ha() for text in axes.texts} == {"right"}


def test_names_have_the_order_of_their_curves():
    times = np.geomspace(1, 300, 50)
    low, high = np.full(50, 6.0), np.full(50, 6.8)
    axes = drawn([(times, low), (times, high)], [End(300, 6.0, "low"), End(300, 6.8, "high")])
    found = {name: (box[1] + box[3]) / 2 for name, box in boxes(axes).items()}
    ends = {name: axes.transData.transform((1, y))[1] for name, y in (("low", 6), ("high", 6.8))}
    assert found["low"] < found["high"]
    for name, other in (("low", "high"), ("high", "low")):
        assert abs(found[name] - ends[name]) < abs(found[name] - ends[other])
