import numpy as np
import pytest
import torch

from ultraslow.probes.quantities.landscape.directions import (
    filter_normalized,
    gradient_noise,
    isotropic,
    trajectory,
    unit_direction,
)


def parameters(dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    shapes = [(4, 3, 2, 2), (4,), (5, 7)]
    return [torch.randn(s, generator=generator).to(dtype) for s in shapes]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def flatten(parts):
    return torch.cat([part.flatten() for part in parts]).double().numpy()


def ensembles():
    now = parameters()
    several = [[torch.randn_like(p) for p in now] for _ in range(3)]
    return [
        isotropic(now),
        filter_normalized(now),
        gradient_noise(now, several),
        trajectory(now, several),
    ]


def test_every_direction_has_length_one_and_the_shapes_of_the_weights():
    for ensemble in ensembles():
        for index in range(3):
            v = unit_direction(ensemble, index, seeded())
            assert [p.shape for p in v] == [p.shape for p in parameters()], ensemble.name
            assert np.linalg.norm(flatten(v)) == pytest.approx(1, abs=1e-6), ensemble.name


def test_the_generator_decides():
    for ensemble in ensembles()[:3]:
        one, same, other = (flatten(unit_direction(ensemble, 0, seeded(s))) for s in (1, 1, 2))
        assert np.array_equal(one, same)
        assert not np.array_equal(one, other)


def test_isotropic_directions_have_covariance_one_over_n():
    generator, ensemble = seeded(), isotropic(parameters())
    v = np.array([flatten(unit_direction(ensemble, i, generator)) for i in range(3000)])
    n = v.shape[1]
    # Entries of the sample covariance of N(0, 1/n) have standard error 1/(n√3000), on the
    # diagonal √2 times that; 5 of them over the 87² entries.
    covariance = v.T @ v / 3000
    assert np.max(np.abs(covariance - np.eye(n) / n)) < 5 * np.sqrt(2 / 3000) / n


def test_filters_keep_their_relative_lengths():
    weights = parameters()
    weights[0][1] = 0.0  # a dead filter stays where it is
    v = unit_direction(filter_normalized(weights), 0, seeded())
    total = np.sqrt(sum(float(w.square().sum()) for w in weights if w.ndim > 1))
    for w, part in zip(weights, v, strict=True):
        for w_filter, v_filter in zip(w, part, strict=True):
            expected = float(w_filter.norm()) / total if w.ndim > 1 else 0.0
            assert float(v_filter.norm()) == pytest.approx(expected, abs=1e-6)


def test_noise_directions_have_the_covariance_of_the_gradients():
    weights = [torch.zeros(2, 3), torch.zeros(2)]
    gradients = [[torch.randn(2, 3) + 5, torch.randn(2) - 3] for _ in range(5)]
    ensemble, generator = gradient_noise(weights, gradients), seeded()
    drawn = np.array([flatten(ensemble.draw(i, generator)) for i in range(10_000)])
    expected = np.cov(np.array([flatten(g) for g in gradients]).T) * 4  # Σ_k over centred g_k
    found = drawn.T @ drawn / 10_000
    error = np.sqrt((np.outer(np.diag(expected), np.diag(expected)) + expected**2) / 10_000)
    assert np.all(np.abs(found - expected) < 5 * error)
    # They lie in the span of 5 centred gradients, which has 4 dimensions of 8.
    assert np.linalg.matrix_rank(drawn[:50], tol=1e-4) == 4


def test_trajectory_points_away_from_the_past():
    now = parameters()
    earlier = [[p - 2.0 for p in now], [torch.zeros_like(p) for p in now]]
    ensemble = trajectory(now, earlier)
    assert ensemble.limit == 2
    n = sum(p.numel() for p in now)
    assert flatten(unit_direction(ensemble, 0, seeded())) == pytest.approx(
        np.full(n, n**-0.5), rel=1e-5
    )
    w = flatten(now)
    assert flatten(unit_direction(ensemble, 1, seeded())) == pytest.approx(
        w / np.linalg.norm(w), rel=1e-5
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_precision_of_directions(dtype):
    now = parameters(dtype)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    for ensemble in (
        isotropic(now),
        filter_normalized(now),
        gradient_noise(now, [now, [-p for p in now]]),
    ):
        assert {v.dtype for v in unit_direction(ensemble, 0, seeded())} == {wide}, ensemble.name


def test_messages():
    now = parameters()
    with pytest.raises(ValueError, match="no tensor of two dimensions"):
        filter_normalized([torch.zeros(3)])
    with pytest.raises(ValueError, match="gradients: found 1 microbatches, expected 2 or more"):
        gradient_noise(now, [now])
    with pytest.raises(ValueError, match=r"gradients: found shapes \[\(4,\)\], expected"):
        gradient_noise(now, [now, now[1:2]])
    with pytest.raises(ValueError, match="earlier: found no weights"):
        trajectory(now, [])
    with pytest.raises(ValueError, match=r"earlier: found shapes \[\(4,\)\], expected"):
        trajectory(now, [now[1:2]])
    with pytest.raises(ValueError, match="direction 0 of 'trajectory' has length 0.0"):
        unit_direction(trajectory(now, [now]), 0, seeded())
    with pytest.raises(ValueError, match="direction 0 of 'noise' has length 0.0"):
        unit_direction(gradient_noise(now, [now, now]), 0, seeded())
