import numpy as np
import pytest

from ultraslow.analysis.plot import look
from ultraslow.analysis.plot.arms import chosen
from ultraslow.analysis.plot.paths import (
    aged_lines,
    aging,
    landscape,
    scanned_kinds,
    spread_of,
    straightness,
)
from ultraslow.analysis.study import Study

RADII = np.geomspace(0.1, 10, 9)


def words(axes):
    return [text.get_text() for text in axes.texts]


def walked(make, *, momentum=0.0, **options):
    """A run whose steps are independent: R = 1 at every record."""
    run = make(exponent=0.5, noise=0.0, **options)
    distance = run["distance_sq"].sum("tensor").values
    steps = np.diff(distance * (1 - momentum) / (1 + momentum), prepend=0.0)
    shares = run["distance_sq"].values / np.maximum(distance, 1e-30)[:, None]
    return run.assign(step_sq=(("iteration", "tensor"), steps[:, None] * shares)).assign_coords(
        momentum=momentum
    )


def scanned(make, *, power=1.0, seed=0):
    run = make(seed=seed, last=1000, slope=2.0)
    rng = np.random.default_rng(seed)
    values = np.full((run.sizes["iteration"], 1, RADII.size, 8), np.nan)
    values[-1, 0] = 0.3 * RADII[:, None] ** power * rng.standard_normal(8)
    return run.assign(
        loss_difference=(("iteration", "ensemble", "radius", "direction"), values)
    ).assign_coords(ensemble=["filter"], radius=RADII)


def test_independent_steps_lie_on_1(make, axes):
    study = Study({f"r{k}": walked(make, seed=k, last=500) for k in range(2)})
    straightness(study, axes)
    curves = [line.get_ydata() for line in axes.lines if len(line.get_ydata()) > 10]
    assert np.concatenate(curves) == pytest.approx(1.0, rel=0.02)
    assert {"independent steps", "M = 64"} <= set(words(axes))
    (zone,) = axes.patches
    assert zone.get_facecolor()[:3] == pytest.approx(
        [int(look.ZONE[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    )


def test_runs_without_a_path_leave_empty_axes(study, axes):
    straightness(study, axes)
    assert "M = 64" not in words(axes)


def test_the_spread_has_the_slope_that_was_simulated(make, axes):
    study = Study({f"r{k}": scanned(make, power=1.5, seed=k) for k in range(3)})
    found = spread_of(study, chosen(study, 64), "filter")
    slope = np.polyfit(np.log(found.time), np.log(found.value), 1)[0]
    assert slope == pytest.approx(1.5, abs=1e-6)
    assert scanned_kinds(study) == ["filter"]
    landscape(study, axes)
    assert {"γ = 1", "γ = 2", "radius r"} <= set(words(axes))
    with pytest.raises(ValueError, match="^kind: found 'radial'"):
        landscape(study, axes, kind="radial")


def test_a_study_without_scans_has_no_kinds(study, axes):
    assert scanned_kinds(study) == []
    landscape(study, axes)


def test_displacements_collapse_in_the_reading_that_was_simulated(make, axes):
    times = np.unique(np.round(np.geomspace(10, 4000, 40))).astype(int)
    start, end = np.meshgrid(times, times, indexing="ij")
    lag = np.abs(end - start).astype(float)
    # Stationary: Δ² is a function of the lag alone.
    run = make(records=times).assign_coords(since=times)
    run = run.assign(displacement_sq=(("iteration", "since"), lag**0.5))
    study = Study({"a": run})
    lines = aged_lines(study, chosen(study, 64))
    assert len(lines) > 5
    for _, arguments, squares, _ in lines:
        assert squares == pytest.approx(0.5 * np.log(arguments[3]))
    aging(study, axes, arm=64, reading="stationary")
    assert "lag τ, iterations" in words(axes)
    with pytest.raises(ValueError, match="^reading: found 'x'"):
        aging(study, axes, arm=64, reading="x")


def test_runs_without_sketches_do_not_age(study, axes):
    aging(study, axes, arm=64)
    assert not axes.lines
