from dataclasses import replace

import numpy as np
import pytest

from diffusion import landscape, simulators, walks
from diffusion.arms import Arm
from diffusion.schedule import log_spaced

ARM = Arm(batch_size=128, seed=3)


def test_law_noise_has_its_size_and_correlation():
    t = log_spaced(1000, per_decade=5)
    noisy = simulators.LawCurve(noise=0.02, correlation=2.0)
    tracks = [noisy.track(replace(ARM, seed=seed), t) for seed in range(400)]
    exact = np.sqrt(simulators.LawCurve(noise=0.0).track(ARM, t).distance_sq)
    residual = np.sqrt([track.distance_sq for track in tracks]) - exact
    residual = residual[:, 1:] / (0.02 * exact[-1])
    assert residual.std() == pytest.approx(1.0, rel=0.05)
    found = np.corrcoef(residual[:, -1], residual[:, -4])[0, 1]
    expected = np.exp(-np.log(t[-1] / t[-4]) / 2.0)
    assert found == pytest.approx(expected, abs=4 * (1 - expected**2) / 20)


def test_the_full_batch_is_descent_without_noise():
    arm = Arm(batch_size=512, scaling="fixed", data_size=512)
    track = simulators.FieldWalk(dimension=3, modes=30).track(arm, np.arange(200))
    assert (np.diff(track.loss) <= 1e-12).all()


def test_line_walk_equals_the_occupation_of_its_potential():
    kind = simulators.LineWalk(hurst=0.4, reach=200, temperature=2.0)
    track = kind.track(Arm(seed=5), np.array([0, 10, 100]))
    v = landscape.fractional_brownian(200, hurst=0.4, samples=1, rng=Arm(seed=5).landscape_rng())
    expected = walks.occupation(v, [100.0], temperature=2.0).mean_sq[0, 0]
    assert track.distance_sq[-1] == pytest.approx(expected, rel=1e-3)


def test_a_line_walk_that_reaches_the_end_of_its_line_says_so():
    kind = simulators.LineWalk(reach=20)
    with pytest.warns(walks.EdgeWarning, match="edge probability reaches"):
        kind.track(Arm(seed=5), np.array([0, 10, 100_000]))


def test_field_walk_knows_the_noise_that_heats_it():
    # T = η·σ²/(2M) with S = N·σ²
    kind = simulators.FieldWalk(dimension=4, temperature=0.7)
    arm = Arm()
    track = kind.track(arm, np.array([0, 1]))
    assert arm.rate * track.noise_trace / (2 * 64 * 4) == pytest.approx(0.7)


def test_law_names_are_checked():
    assert simulators.law_named("separable").name == "separable"
    with pytest.raises(ValueError, match="law: found 'cubic', expected one of"):
        simulators.law_named("cubic")
