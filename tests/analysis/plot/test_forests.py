import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

import ultraslow as us
from ultraslow.analysis.intervals import Interval, t_interval
from ultraslow.analysis.plot import look
from ultraslow.analysis.plot.forests import (
    Row,
    bracketed,
    draw_rows,
    exponents,
    ladder,
    rows_of_arms,
    start_forest,
)
from ultraslow.analysis.predictions.growth.log_growth import log_growth
from ultraslow.analysis.scores import ladders
from ultraslow.analysis.study import Study


def sheet(rows, wide=900):
    figure = Figure(figsize=(wide / 96, (90 + 30 * rows) / 96), dpi=96)
    return figure.add_axes((0.3, 0.2, 0.4, 0.6))


def words(axes):
    return [text.get_text() for text in axes.texts]


def bars(axes):
    return [line for line in axes.lines if line.get_alpha() == 0.85]


def test_an_arm_is_a_row_with_its_seeds_and_the_interval_that_judges_it(study):
    axes = sheet(3)
    exponents(study, axes)
    fits = study.fits.sel(node=[f"sqrt-b64-s{k}" for k in range(3)])
    first = rows_of_arms(study)[0]
    assert first.found.value == pytest.approx(float(fits["exponent"].mean()))
    # As P1 takes it: three arms share the error, of which half is kept.
    wanted = t_interval(fits["exponent"].values, level=1 - 0.05 / 6)
    assert (first.found.low, first.found.high) == pytest.approx((wanted.low, wanted.high))
    assert first.level == pytest.approx(1 - 0.05 / 6)
    assert first.parts == tuple(fits["exponent"].values)
    assert [row.told for row in rows_of_arms(study)] == ["η ∝ √M", "η ∝ √M", "η fixed"]
    assert {"counts as log t", "√t, diffusion", "p with interval", "seeds"} <= set(words(axes))
    assert len(bars(axes)) == 3
    assert bars(axes)[0].get_xdata() == pytest.approx([first.found.low, first.found.high])


@pytest.mark.parametrize("seeds", [2, 4])
def test_arms_that_p1_does_not_judge_have_the_interval_of_their_mean_or_runs(make, seeds):
    # 2.3 decades are too few for P1.
    study = Study({f"r{k}": make(seed=k, last=200, exponent=0.3) for k in range(seeds)})
    (row,) = rows_of_arms(study)
    fits = study.fits
    wanted = t_interval(fits["exponent"].values, level=0.95)
    ends = wanted.low, wanted.high
    if seeds < 4:
        ends = float(fits["exponent_low"].min()), float(fits["exponent_high"].max())
    assert (row.found.low, row.found.high) == pytest.approx(ends)
    assert np.isnan(row.level)


@pytest.mark.parametrize("exponent", [0.0, 0.3])
def test_an_exponent_is_the_one_of_the_verdict_at_the_level_that_it_names(make, exponent):
    runs = {
        f"m{size}-s{k}": make(seed=k, batch_size=size, last=1500, exponent=exponent)
        for size in (64, 256)
        for k in range(4)
    }
    verdict = log_growth(Study(runs)).told_at(0.95)
    rows = rows_of_arms(Study(runs))
    (row,) = [one for one in rows if one.found.value == verdict.effect]
    assert (row.found.low, row.found.high) == (verdict.effect_low, verdict.effect_high)
    assert verdict.effect_meaning.endswith(f"; {row.level:.1%} interval")
    assert row.level == pytest.approx(1 - 0.35 * 0.05 if exponent == 0 else 1 - 0.05 / 4)


def test_ends_beyond_the_figure_are_arrowheads():
    axes = sheet(2)
    rows = [Row("a", "", Interval(0.2, -np.inf, np.nan)), Row("b", "", Interval(0.1, 0.0, 0.3))]
    start_forest(axes, rows, (-0.2, 0.6), across="p")
    draw_rows(axes, rows, ())
    heads = [line.get_marker() for line in axes.lines if line.get_marker() in (4, 5)]
    assert sorted(heads) == [4, 5]
    assert bars(axes)[0].get_xdata() == pytest.approx([-0.2, 0.6])


def test_rows_of_what_a_fit_gives():
    times = np.unique(np.geomspace(1, 3000, 40).astype(int))
    table = np.stack([1 + np.log(times), 1 + np.sqrt(times)])
    curves = xr.DataArray(table, {"name": ["x", "y"], "iteration": times}, ["name", "iteration"])
    fits = us.fit_growth(curves, calibrate=False)
    axes = sheet(2)
    assert us.plot.exponents(fits, axes) is axes
    assert {"x", "y"} <= set(words(axes))


def test_nothing_fitted_leaves_an_empty_forest(make):
    axes = sheet(1)
    exponents(Study({"a": make(records=[0, 1, 2])}), axes)
    assert not bars(axes)


def test_narrow_forests_keep_their_words_inside():
    axes = sheet(1, wide=360)
    row = Row(
        "M = 64", "η fixed, weight decay 0.0005 and more", Interval(0.1, 0, 0.2), (), ("0.10",)
    )
    start_forest(axes, [row], (-0.2, 0.6), across="p")
    draw_rows(axes, [row], ())
    (told,) = [word for word in words(axes) if word.startswith("η")]
    assert told.endswith("…")


def test_gains_are_filled_where_they_exclude_0(train, axes):
    rng = np.random.default_rng(0)
    runs = {}
    for rung, gap in enumerate((0.2, 0.1, 0.1)):
        for seed in range(4):
            run = train(gap=gap, seed=seed, rng=rng)
            runs[f"{rung}-{seed}"] = run.assign_attrs(ladder="l", rung=rung, rung_name=f"n{rung}")
    (found,) = ladders(runs)
    ladder(found, axes)
    assert {"1 n1", "2 n2", "whole ladder", "gain in accuracy"} <= set(words(axes))
    faces = [line.get_markerfacecolor() for line in axes.lines if line.get_zorder() == 5]
    assert faces == [look.INK, look.PAPER, look.INK]


def test_intervals_in_words():
    assert bracketed(Interval(0.123, -0.5, 0.9)) == "0.12 [−0.50, 0.90]"
    assert bracketed(Interval(0.1, -np.inf, 0.9)) == "0.10 [−∞, 0.90]"
    assert bracketed(Interval(0.1, np.nan, np.nan)) == "0.10"
