import math

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, strategies as st

from ultraslow.analysis.intervals import Interval
from ultraslow.analysis.report import data
from ultraslow.analysis.report.data import Dot
from ultraslow.analysis.runs import total_distance
from ultraslow.analysis.study import Study

FEW = [0, 1, 2, 4, 8]
T = np.array([1.0, 10.0, 100.0])


def fits(sizes, exponents, tensors=None, *, copies=0, arms=None, level=0.9):
    """Fits as `fit_totals` gives them, with chosen exponents and intervals of ±0.1."""
    exponents = np.asarray(exponents, dtype=float)
    dims = ("node",) if tensors is None else ("node", "tensor")
    names = [f"r{k}" for k in range(len(sizes))]
    repeats = np.arange(len(sizes)) >= len(sizes) - copies
    coords = {
        "node": names,
        "batch_size": ("node", sizes),
        "arm": ("node", arms or [""] * len(sizes)),
        "repeats": ("node", repeats),
    }
    return xr.Dataset(
        {
            "exponent": (dims, exponents),
            "exponent_low": (dims, exponents - 0.1),
            "exponent_high": (dims, exponents + 0.1),
        },
        coords if tensors is None else coords | {"tensor": tensors},
        {"level": level},
    )


def test_tensors_are_pooled_over_the_runs_of_a_batch_size():
    exponents = [[0.0, np.nan], [0.2, np.nan], [1.0, 0.5]]
    plot = data.tensor_exponents(fits([64, 64, 256], exponents, ["a", "b"]), ["a", "b"])
    assert plot.rows == ("a", "", "b", "")
    values = [(dot.found.value, dot.found.low, dot.found.high) for dot in plot.dots]
    assert values[0] == pytest.approx((0.1, -0.1, 0.3))
    assert values[1] == pytest.approx((1.0, 0.9, 1.1))
    assert all(map(math.isnan, values[2]))
    # Of four runs three have a fit of this tensor: their intervals are joined, and no mean's.
    few = fits([64] * 4, [[0.0], [0.1], [0.5], [np.nan]], ["a"])
    (dot,) = data.tensor_exponents(few, ["a"]).dots
    assert (dot.found.value, dot.found.low, dot.found.high) == pytest.approx((0.2, -0.1, 0.6))
    assert not dot.strong


def network(make, count, *, run="r"):
    """A run whose k-th tensor has moved by the square root of k + 1."""
    share = np.linspace(1, count, count)
    shape = (len(FEW), count)
    return make(
        run=run,
        records=FEW,
        tensor=[f"t{k}" for k in range(count)],
        tensor_size=[1] * count,
        distance_sq=np.broadcast_to(share, shape),
        weight_sq=np.ones(shape),
        overlap=np.ones(shape),
        gradient_sq=None,
        noise_trace=None,
        noise_updates=None,
    )


@pytest.mark.parametrize(("runs", "count"), [(1, 24), (50, 24), (100, 12), (400, 8)])
def test_no_more_tensors_than_can_be_read_are_shown(make, runs, count):
    run = network(make, 60)
    found = data.largest_tensors({f"r{k}": run for k in range(runs)})
    assert found == [f"t{k}" for k in range(60 - count, 60)]


def test_tensors_that_moved_far_in_any_run_at_its_end_are_shown(make):
    one, other = (network(make, 30).copy(deep=True) for _ in range(2))
    # t0 goes farthest in one of two runs, t29 had moved and is back at the end of both.
    one["distance_sq"][-1, 0] = 100.0
    for run in (one, other):
        run["distance_sq"][1:-1, 29] = 200.0
        run["distance_sq"][-1, 29] = 0.0
    expected = ["t0", *(f"t{k}" for k in range(6, 29))]
    assert data.largest_tensors({"a": one, "b": other}) == expected
    assert data.largest_tensors({"b": other, "a": one}) == expected


def test_a_small_network_is_shown_whole_in_its_own_order(make):
    assert data.largest_tensors({"r": network(make, 3)}) == ["t0", "t1", "t2"]


PLACES = st.lists(st.floats(0, 1), min_size=1, max_size=8).map(sorted)


@pytest.mark.parametrize(
    ("low", "high", "ends"),
    [(-0.1, 0.2, (-0.1, 0.2)), (math.nan, 0.2, (-math.inf, 0.2)), (0, math.inf, (0, math.inf))],
)
def test_an_unknown_end_is_open(low, high, ends):
    assert Dot(0, 64, Interval(0.1, low, high)).ends == ends


def test_the_exponent_axis_is_not_stretched_by_one_run_in_a_hundred():
    dots = [Dot(0, 64, Interval(0.3, 0.25, 0.35))] * 99 + [Dot(0, 64, Interval(1.4, -1.8, 1.5))]
    assert data.exponent_range(dots) == (-0.15, 0.6)
    assert data.exponent_range([Dot(0, 64, Interval(0.5, -0.4, 0.9))]) == pytest.approx(
        (-0.4 + 0.02 * 2 * 0.9 - 0.05, 0.9 - 0.02 * 2 * 0.4 + 0.05)
    )


@given(st.lists(st.tuples(st.floats(-3, 3), st.floats(0, 2)), max_size=10))
def test_the_exponent_axis_always_shows_the_logarithm_and_diffusion(estimates):
    dots = [
        Dot(0, 64, Interval(middle, middle - half, middle + half)) for middle, half in estimates
    ]
    low, high = data.exponent_range(dots)
    assert -2 <= low <= -0.15
    assert 0.6 <= high <= 1.6 or not dots
    assert low < 0 < 0.5 < high


def test_local_exponents_of_a_power_are_its_own_and_those_of_its_law(make):
    runs = {f"s{k}": make(run=f"s{k}", seed=k, exponent=0.4, noise=0.0005) for k in range(4)}
    runs["short"] = make(run="short", seed=9, exponent=0.9, last=300)
    (found,) = data.local_exponents(Study(runs))
    assert (found.batch_size, found.seeds) == (64, 4)  # no mean with the one that stopped early
    late = found.found.iteration > 30
    assert found.found.iteration[-1] == 3000
    np.testing.assert_allclose(found.found.middle[late], 0.4, atol=0.05)
    assert (found.found.low < found.found.middle)[late].all()
    np.testing.assert_allclose(found.law[late], 0.4, atol=0.03)
    # One run has the band of its own noise; what cannot be fitted has none.
    (alone,) = data.local_exponents(Study({"s0": runs["s0"]}))
    assert alone.seeds == 1 and (alone.found.high > alone.found.middle)[late].all()
    assert data.local_exponents(Study({"few": make(records=FEW)})) == []


# What P1 weighs.


def arm_of(make, **options):
    records = np.append(0, np.unique(np.geomspace(1, 5000, 60).astype(int)))
    given = {"records": records, "noise": 0.001, **options}
    runs = {f"s{k}": make(run=f"s{k}", seed=k, **given) for k in range(3)}
    return Study(runs)


def test_the_picture_of_p1_is_of_the_arm_and_the_fits_that_the_verdict_weighs(make):
    study = arm_of(make, exponent=0.5)
    shown = data.rivals(study)
    assert (shown.word, shown.name, shown.seeds) == ("contradicted", "batch size 64", 3)
    curves = np.stack([total_distance(run).values[1:] for run in study.runs.values()])
    np.testing.assert_allclose(shown.measured.middle, curves.mean(axis=0))
    np.testing.assert_allclose(shown.measured.low, curves.min(axis=0))
    assert (shown.measured.iteration[0], shown.measured.iteration[-1]) == (1, 5000)
    assert shown.laws[1] == "t^0.5" and shown.faster
    assert shown.misses[1] < 0.2 < shown.misses[0]
    # Steps: what √t adds, read at T·10^(−0.1) and a decade and two before.
    np.testing.assert_allclose(shown.decades[:, 0], 5000 * 10.0 ** -np.array([0.1, 1.1, 2.1]))
    added = -np.diff(shown.decades[:, 1])
    assert added[0] / added[1] == pytest.approx(shown.ratio, rel=0.03)
    assert shown.ratio == pytest.approx(10**0.5, rel=0.03)


def test_a_logarithm_is_its_own_best_fit_and_saturation_has_its_own_name(make):
    shown = data.rivals(arm_of(make))
    assert shown.word == "supported" and shown.misses[0] < shown.misses[1]
    assert "log t" in shown.laws[0] or "log(t" in shown.laws[0]
    assert not data.rivals(arm_of(make, exponent=-0.5)).faster


def test_without_an_arm_that_speaks_there_is_no_picture(make):
    assert data.rivals(Study({"one": make()})) is None
