import numpy as np
import pytest

from ultraslow.analysis.plot.pixels import columns, evenly, spread_out, straightened, within


def test_a_column_keeps_its_first_lowest_highest_and_last_point():
    x = np.linspace(0, 3, 3000, endpoint=False)
    y = np.sin(40 * x)
    y[[700, 1500]] = 50.0, -50.0
    found = columns(np.column_stack([x, y]))
    assert len(found) <= 12
    for left in range(3):
        inside, kept = (np.floor(x) == left), found[np.floor(found[:, 0]) == left]
        assert kept[:, 1].min() == y[inside].min()
        assert kept[:, 1].max() == y[inside].max()
        assert kept[0, 1] == y[inside][0]
        assert kept[-1, 1] == y[inside][-1]


def test_few_points_and_lines_that_go_back_are_left_as_they_are():
    few = np.array([[0.0, 1.0], [0.1, 2.0], [0.2, 0.0]])
    assert columns(few) is few
    back = np.column_stack([np.linspace(5, 0, 100), np.arange(100.0)])
    assert columns(back) is back


def test_a_hundred_thousand_records_are_a_few_points_a_pixel():
    x = np.geomspace(1, 500, 100_000)
    y = np.random.default_rng(0).standard_normal(x.size)
    found = columns(np.column_stack([x, y]))
    assert len(found) <= 4 * 500
    assert found[:, 1].max() == y.max()
    assert found[:, 1].min() == y.min()


def test_straightened_lines_stay_where_they_were():
    x = np.linspace(0, 200, 400)
    curve = np.column_stack([x, 80 * np.sqrt(x / 200)])
    kept = straightened(curve, 0.15)
    assert len(kept) < 40
    assert np.abs(np.interp(x, kept[:, 0], kept[:, 1]) - curve[:, 1]).max() < 0.3
    assert len(straightened(np.column_stack([x, 2 * x]))) == 2


def test_labels_move_as_little_as_they_may_and_stay_inside():
    places = [3.0, 4.0, 4.5, 30.0]
    apart = spread_out(places, 14)
    assert np.diff(apart).min() >= 14 - 1e-9
    # Of all places this far apart the nearest in squares: independent of the method.
    from scipy.optimize import minimize

    best = minimize(
        lambda x: np.sum((x - places) ** 2),
        places,
        constraints=[{"type": "ineq", "fun": lambda x: np.diff(x) - 14}],
    )
    assert apart == pytest.approx(best.x, abs=1e-3)
    inside = within(places, 14, 0, 60)
    assert min(inside) >= 0
    assert max(inside) <= 60
    assert np.diff(inside).min() >= 14 - 1e-9


def test_evenly_in_the_logarithm():
    times = np.arange(1.0, 10_001.0)
    kept = times[evenly(times, 5)]
    assert kept == pytest.approx([1, 10, 100, 1000, 10000])
    assert evenly(times[:3], 5).tolist() == [0, 1, 2]
