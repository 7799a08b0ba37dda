import numpy as np
import pytest

from ultraslow.analysis.plot import look
from ultraslow.analysis.plot.arms import Curve
from ultraslow.analysis.plot.clocks import collapse, hero, log_line, of_picture, window_of
from ultraslow.analysis.study import Study


def words(axes):
    return [text.get_text() for text in axes.texts]


def dashed(axes):
    return [line for line in axes.lines if line.get_linestyle() == "--"]


def test_the_dashed_line_is_the_logarithm_through_the_window():
    times = np.geomspace(1, 1000, 61)
    found = log_line([Curve(times, 1 + 2 * np.log(times))], (5, 50))
    assert found == pytest.approx((2.0, 1.0))
    assert log_line([Curve(times[:3], times[:3])], (5, 50)) is None
    assert log_line([], (5, 50)) is None


@pytest.mark.parametrize(
    ("first", "last", "wanted"), [(1, 1500, (5, 50)), (1, 1e6, (5, 50)), (100, 1e5, (100, 1000))]
)
def test_the_window_lies_early_and_leaves_a_decade(first, last, wanted):
    times = np.geomspace(first, last, 50)
    assert window_of([Curve(times, times)]) == pytest.approx(wanted)


def test_a_few_short_or_late_runs_leave_the_window_to_the_others():
    whole, short, late = (
        Curve(times, times)
        for times in (np.geomspace(1, 1500, 50), np.geomspace(1, 12, 9), np.arange(900.0, 1000.0))
    )
    assert window_of([whole, whole, short, whole, late]) == (5, 50)
    assert window_of([short]) != (5, 50)
    low, high = window_of([])
    assert low <= high


@pytest.mark.parametrize("last", [1, 2, 10, 40, 150])
def test_short_runs_have_a_window_of_their_own(last):
    times = np.geomspace(1, last, 9)
    low, high = window_of([Curve(times, times)])
    assert 1 <= low <= high <= last


def test_the_first_picture_shows_curves_and_what_a_logarithm_would_have_done(study, axes):
    hero(study, axes)
    shown = words(axes)
    assert "line fitted here" in shown
    assert {"M = 64", "M = 256"} <= set(shown)
    assert [line.get_color() for line in dashed(axes)] == [look.hue(0, 2), look.hue(1, 2)]
    straight = dashed(axes)[0]
    times, values = straight.get_data()
    runs = [study.runs[f"sqrt-b64-s{k}"] for k in range(3)]
    at = np.concatenate([run["iteration"].values for run in runs])
    far = np.concatenate([run["distance_sq"].sum("tensor").values ** 0.5 for run in runs])
    early = (at >= 5) & (at <= 50)
    slope, start = np.polyfit(np.log(at[early]), far[early], 1)
    assert values == pytest.approx(start + slope * np.log(times))
    assert look.shown(values[-1]) + ", like log t" in shown or look.shown(values[-1]) in shown


def test_only_arms_of_the_root_rule_are_in_the_first_picture(study):
    assert {one.rule for one in of_picture(study)} == {"sqrt"}


def test_of_many_batch_sizes_five_are_in_the_first_picture(make, axes):
    runs = {f"r{k}": make(batch_size=2**k, last=300) for k in range(3, 15)}
    study = Study(runs)
    found = [one.batch_size for one in of_picture(study)]
    assert len(found) == 5
    assert (found[0], found[-1]) == (8, 2**14)
    hero(study, axes)


def test_a_bracket_stands_where_all_curves_end(make, axes):
    runs = {f"a{k}": make(batch_size=64, seed=k, last=1000) for k in range(2)}
    runs |= {f"b{k}": make(batch_size=4096, seed=k, last=300, slope=4.0) for k in range(2)}
    hero(Study(runs), axes)
    (told,) = [word for word in words(axes) if "× that of M = 64" in word]
    factor = float(told.split(", ")[1].split(" ×")[0])
    assert factor == pytest.approx((1 + 4 * np.log(300)) / (1 + np.log(300)), rel=0.02)


@pytest.mark.parametrize("options", [{"learning_rate": None, "learning_rate_sum": None}, {}])
def test_one_short_run_is_a_picture(make, axes, options):
    hero(Study({"a": make(last=30, **options)}), axes)
    assert "M = 64" in words(axes)


def test_the_shaded_decade_is_that_of_the_verdict(study, axes):
    collapse(study, axes, clock="iteration")
    (area,) = axes.patches
    ends = area.get_x(), area.get_x() + area.get_width()
    assert ends == pytest.approx((100, 1000))
    assert axes.get_xscale() == axes.get_yscale() == "log"


def test_clocks_bring_different_curves_together(study, axes):
    collapse(study, axes, clock="samples")
    assert "samples Mt" in words(axes)
    assert axes.get_xlim() == pytest.approx((64, 256_000))


def test_clocks_that_are_none_are_named(study, axes):
    with pytest.raises(ValueError, match="^clock: found 'epochs', expected one of iteration, Ση"):
        collapse(study, axes, clock="epochs")


def test_arms_without_a_verdict_are_drawn_without_a_decade(make, axes):
    collapse(Study({"a": make(last=200)}), axes)
    assert not axes.patches
    assert axes.lines
