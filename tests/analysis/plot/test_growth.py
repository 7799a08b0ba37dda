import numpy as np
import pytest
import xarray as xr

from ultraslow.analysis.plot import look
from ultraslow.analysis.plot.arms import chosen
from ultraslow.analysis.plot.growth import distance, panel, residuals
from ultraslow.analysis.study import Study


def words(axes):
    return [text.get_text() for text in axes.texts if text.get_visible()]


def lines(axes, colour, width):
    return [
        line
        for line in axes.lines
        if line.get_color() == colour and line.get_linewidth() == pytest.approx(width)
    ]


def test_all_arms_are_named_at_their_ends_with_their_distance(study, axes):
    assert distance(study, axes) is axes
    shown = words(axes)
    for name in ("M = 64", "M = 256, η ∝ √M", "M = 256, η fixed", "iteration"):
        assert name in shown
    last = np.mean(
        [
            float(run["distance_sq"].sum("tensor")[-1] ** 0.5)
            for run in (study.runs[f"sqrt-b64-s{k}"] for k in range(3))
        ]
    )
    assert look.shown(last) in shown
    assert len(lines(axes, look.hue(0, 2), look.THIN)) == 3
    assert axes.get_xscale() == "log"


def test_an_arm_shows_its_records_and_the_line_of_each_seed(study, axes):
    distance(study, axes, arm="64")
    fits = lines(axes, look.hue(0, 2), look.FIT)
    assert len(fits) == 3
    # Where the line meets the records: within the noise of the simulation.
    for node, line in zip(chosen(study, 64).nodes, fits, strict=True):
        run = study.runs[node]
        times, values = line.get_data()
        measured = run["distance_sq"].sum("tensor").values[1:] ** 0.5
        at = np.interp(np.log(run["iteration"].values[1:]), np.log(times), values)
        assert at == pytest.approx(measured, rel=0.02)
    (exponent, span) = [word for word in words(axes) if word.startswith("p =") or " to " in word]
    assert float(exponent.removeprefix("p = ")) == pytest.approx(0.3, abs=0.1)
    assert " to " in span


def test_records_lie_over_their_line(study, axes):
    distance(study, axes, arm=64)
    (over,) = {line.get_zorder() for line in axes.lines if line.get_marker() != "None"}
    assert over > max(line.get_zorder() for line in axes.lines if line.get_marker() == "None")


def test_residuals_are_percents_of_the_final_distance(study, axes):
    residuals(study, axes, arm=64)
    shown = [line.get_ydata() for line in axes.lines if line.get_linestyle() == "None"]
    values = np.concatenate(shown)
    assert np.abs(values).max() < 2.0  # the noise of the simulation is 0.2 %
    assert {"residual, %", "+5", "−5"} <= set(words(axes))


def test_a_panel_has_a_strip_of_residuals_that_shares_its_times(study, axes):
    panel(study, axes, arm=64)
    (strip,) = axes.child_axes
    assert strip.get_xlim() == axes.get_xlim()
    assert "iteration" in words(strip)
    assert "iteration" not in words(axes)
    assert "residual, %" in words(strip)


def test_residuals_beyond_the_strip_are_arrowheads(make, axes):
    run = make(last=2000, exponent=0.2)
    jump = xr.where(run["iteration"] == run["iteration"][20], 4.0, 1.0)
    study = Study({"a": run.assign(distance_sq=run["distance_sq"] * jump)})
    residuals(study, axes, arm=64)
    heads = [line for line in axes.lines if line.get_marker() == 6 and line.get_xdata().size]
    assert [line.get_ydata().tolist() for line in heads] == [[6.0]]


def test_a_single_run_without_a_rate_or_loss_is_drawn(make, axes):
    run = make(last=400, learning_rate=None, learning_rate_sum=None, loss=None)
    study = Study({"a": run})
    assert "M = 64" in words(distance(study, axes))
    axes.clear()
    distance(study, axes, arm=64)
    assert axes.lines


def test_runs_without_a_finite_distance_leave_empty_axes(make, axes):
    run = make(last=100)
    study = Study({"a": run.assign(distance_sq=run["distance_sq"] * np.nan)})
    distance(study, axes)
    axes.clear()
    distance(study, axes, arm=64)
    axes.clear()
    residuals(study, axes, arm=64)
    assert axes.get_xlim()[0] > 0


def test_many_seeds_are_a_band(make, axes):
    study = Study({f"r{k}": make(seed=k, last=100) for k in range(30)})
    distance(study, axes, arm=64, fits=False)
    assert len(axes.collections) == 1
    assert len(axes.lines) <= 3


def test_summed_rates_are_a_clock_of_its_own(make, axes):
    rates = np.where(np.arange(60) < 30, 0.1, 0.01)
    records = np.unique(np.geomspace(1, 3000, 75).astype(int))[:60]
    summed = np.cumsum(rates * np.diff(records, prepend=0))
    run = make(records=records, learning_rate=rates, learning_rate_sum=summed, exponent=0.3)
    distance(Study({"a": run}), axes, arm=64, clock="learning_rate_sum")
    assert "summed rate Ση" in words(axes)
    assert axes.get_xlim() == pytest.approx((summed[0], summed[-1]))
    assert len(lines(axes, look.hue(0, 1), look.FIT)) == 1


def test_without_axes_a_figure_is_made(tree):
    from matplotlib import pyplot

    try:
        axes = distance(tree)
        assert axes.figure in [pyplot.figure(k) for k in pyplot.get_fignums()]
    finally:
        pyplot.close("all")


def test_the_front_door_draws(tree, axes):
    import ultraslow as us

    assert us.plot.distance(tree, axes) is axes
    assert {"distance", "residuals"} <= set(dir(us.plot))
