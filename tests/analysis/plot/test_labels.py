import numpy as np
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
