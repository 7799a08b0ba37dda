import math

import numpy as np
import pytest

from ultraslow.analysis.growth.fit import growth_curve
from ultraslow.analysis.growth.runs import fit_totals
from ultraslow.analysis.report import distances
from ultraslow.analysis.report.data import Band, Curve
from ultraslow.analysis.study import Study

FEW = [0, 1, 2, 4, 8]
T = np.array([1.0, 10.0, 100.0])
RECORDS = np.append(0, np.unique(np.geomspace(1, 3000, 60).astype(int)))


def test_some_of_the_other_batch_sizes_stand_behind():
    curves = [Curve(size, T, T) for size in (64, 256, 1024) for _ in range(5)]
    own, behind = distances.parted(curves, 256)
    assert [c.batch_size for c in own] == [256] * 5
    assert [c.batch_size for c in behind] == [64] * 3 + [1024] * 3


def test_one_scale_holds_all_curves_and_as_much_of_the_bands_as_leaves_them_visible():
    curves = [Curve(64, T, T), Curve(256, T, 2 * T)]
    assert distances.distance_top(curves, []) == pytest.approx(206)
    assert distances.distance_top(curves, [Band(T, T, T, 2.2 * T)]) == pytest.approx(1.03 * 220)
    assert distances.distance_top(curves, [Band(T, T, T, 99 * T)]) == pytest.approx(1.03 * 260)
    assert distances.distance_top([Curve(64, T, np.zeros(3))], []) > 0
    assert distances.distance_top([], []) > 0


def test_a_law_is_drawn_over_its_own_window(make):
    found = fit_totals({"a": make(records=FEW), "b": make(batch_size=256, records=FEW)})
    assert distances.laws(found) == {}  # too few records for a fit
    parameters = {"exponent": 0.0, "offset": 1.0, "slope": 2.0, "onset": 3.0}
    fitted = found.assign({k: ("node", [v, math.nan]) for k, v in parameters.items()})
    law = distances.laws(fitted)["a"]
    assert (law.iteration[0], law.iteration[-1]) == (pytest.approx(1), pytest.approx(8))
    expected = growth_curve(fitted.sel(node="a"), law.iteration, level=0.95)["distance"]
    np.testing.assert_allclose(law.middle, expected)


def test_sets_have_panels_of_their_own(make):
    runs = {
        f"{name}-{seed}": make(run=f"{name}-{seed}", seed=seed, optimizer=name, records=FEW)
        for name in ("SGD", "AdamW")
        for seed in range(3)
    }
    panels = distances.distance_panels(Study(runs))
    assert sorted(one.part for one in panels) == ["AdamW", "SGD"]
    for one in panels:
        assert [curve.part for curve in one.curves] == [one.part] * 3
        assert {curve.part for curve in one.behind} == {"AdamW", "SGD"} - {one.part}
    (alone,) = distances.distance_panels(Study({"SGD-0": runs["SGD-0"]}))
    assert (alone.part, len(alone.behind)) == ("", 0)


def test_runs_whose_rate_changes_are_drawn_on_the_summed_rate(make):
    summed = 0.2 * np.sqrt(RECORDS.astype(float))
    distance = np.log(summed + 1.0)
    given = {
        "records": RECORDS,
        "distance_sq": np.outer(distance**2, [0.6, 0.3, 0.1]),
        "learning_rate": 0.1 / np.sqrt(np.maximum(RECORDS, 1)),
        "learning_rate_sum": summed,
    }
    runs = {"steady": make(run="steady", records=RECORDS), "changing": make(**given)}
    (panel,) = distances.rate_panels(Study(runs))
    (curve,), (law,) = panel.curves, panel.laws
    np.testing.assert_allclose(curve.iteration, summed[1:])
    np.testing.assert_allclose(law.middle, np.log(law.iteration + 1.0), atol=0.01)
    assert (law.iteration[0], law.iteration[-1]) == pytest.approx((summed[1], summed[-1]))
    assert distances.rate_panels(Study({"steady": runs["steady"]})) == []


def test_bands_that_would_cover_most_of_a_panel_are_left_out():
    narrow, wide = Band(T, T, 0 * T, 0 * T + 30), Band(T, T, 0 * T - 99, 0 * T + 999)
    apart = Band(T, T, 0 * T + 40, 0 * T + 70)
    assert distances.uncovered([narrow], 100.0) == [narrow]
    kept, bare = distances.uncovered([narrow, wide], 100.0)
    assert kept is narrow
    assert np.isnan([bare.low, bare.high]).all()
    assert bare.middle is wide.middle
    # Each is narrow, and both together are not.
    left = distances.uncovered([narrow, apart], 100.0)
    assert sum(np.isfinite(one.low).all() for one in left) == 1
    assert distances.uncovered([narrow, narrow], 100.0) == [narrow, narrow]
