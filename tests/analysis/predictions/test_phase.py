"""Verdicts are about the time before the training set is fitted."""

import numpy as np
import pytest

from ultraslow.analysis.predictions.batch_size.collapse import collapse
from ultraslow.analysis.predictions.growth.log_growth import log_growth
from ultraslow.analysis.predictions.table import in_phase, verdicts_on
from ultraslow.analysis.study import Study
from ultraslow.diffusion.recording.schedule import log_spaced

LAST = 20_000
SHARES = [0.6, 0.3, 0.1]


def run(make, curve, *, size=64, seed=0, at=700.0, fits=True, last=LAST):
    """A run along a curve of distances; one that fits its training set does so at an iteration."""
    times = log_spaced(last)
    time = np.maximum(times, 1.0)
    rng = np.random.default_rng([seed, size, 7])
    moved = np.where(times > 0, curve(time), 0.0) * (1 + 0.03 * rng.standard_normal())
    moved *= np.exp(0.002 * rng.standard_normal(times.size))
    loss = np.where(time < at, 2.3 / (1 + time / 100), 0.09 * at / time)
    calm = 1 / (1 + (time / at) ** 2) if fits else np.ones(time.size)
    return make(
        run=f"b{size}-s{seed}",
        batch_size=size,
        seed=seed,
        last=last,
        data_size=1280,
        distance_sq=moved[:, None] ** 2 * SHARES,
        loss=loss if fits else np.full(times.size, 1.0),
        loss_updates=np.diff(times, prepend=0),
        noise_trace=np.where(times > 0, 80 * calm, np.nan)[:, None] * SHARES,
    )


def study(make, curves, *, seeds=5, **more):
    """Seeds of each batch size along its curve."""
    made = [
        run(make, curve, size=size, seed=seed, **more)
        for size, curve in curves.items()
        for seed in range(seeds)
    ]
    return Study({str(one["run"].values): one for one in made})


def diffusing_then_logarithmic(time, at=700.0):
    """√t until an iteration and ln t from there on, without a kink."""
    late = np.sqrt(at) * (1 + 0.5 * np.log(time / at))
    return np.where(time < at, np.sqrt(time), late)


def test_growth_is_judged_before_the_training_set_is_fitted(make):
    curves = {64: diffusing_then_logarithmic}
    whole = log_growth(study(make, curves, fits=False))
    assert whole.verdict != "contradicted"
    fitted = study(make, curves)
    found = in_phase(log_growth(fitted), fitted)
    assert found.verdict == "contradicted"
    (until,) = set(fitted.ends_of_phase.values())
    assert 500 < until < 700
    assert found.reason.endswith(
        f"It is about the time until iteration {until}, where the training set is fitted (loss at "
        "5% of its start)."
    )
    assert "separable data" in found.assumptions[-1]


def test_curves_at_rest_after_the_fit_do_not_coincide(make):
    curves = {
        64: lambda time: np.minimum(time, 700.0) ** 0.5,
        256: lambda time: np.minimum(1.6 * time**0.5, 700.0**0.5),
    }
    assert collapse(study(make, curves, fits=False)).verdict == "supported"
    fitted = study(make, curves, at=250.0)
    found = in_phase(collapse(fitted), fitted)
    assert found.verdict == "contradicted"
    assert found.effect == pytest.approx(1.6, rel=0.05)


@pytest.mark.parametrize("decide", [log_growth, collapse])
def test_longer_runs_are_not_advised_where_the_training_set_is_fitted(make, decide):
    fitted = study(make, {64: np.sqrt, 256: np.sqrt}, at=60.0)
    found = in_phase(decide(fitted), fitted)
    (until,) = set(fitted.ends_of_phase.values())
    assert found.verdict == "undecidable"
    assert found.needed.startswith("a larger training set, not fitted before iteration ")
    assert f"by iteration {until}" in found.needed
    assert "the training set is fitted" in found.reason


def test_what_is_missing_otherwise_says_nothing_of_the_phase(make):
    found = verdicts_on(study(make, {64: np.sqrt}, at=60.0, last=3000))
    said = found["reason"].str.contains("training set is fitted")
    assert not said.sel(prediction=["P3", "P4", "P7", "H-a", "H-c"]).any()


def test_runs_without_a_fitted_training_set_are_told_nothing(make):
    plain = study(make, {64: np.sqrt}, fits=False)
    found = log_growth(plain)
    assert in_phase(found, plain) == found
