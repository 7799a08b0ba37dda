import numpy as np
import pytest
import torch

from ultraslow.probes.buffer.averaged import DRAWS, Projections, averages

PROCESSES = 3


def columns(gradients, used):
    """Means over processes of what each projects.

    Arguments:
        gradients: of each process, before they are averaged, one a tensor.
        used: of each process, by the optimizer.
    """
    rows = []
    for own, stepped in zip(gradients, used, strict=True):
        tensors = [torch.zeros(len(values), requires_grad=True) for values in own]
        projections = Projections(tensors)
        for tensor, values in zip(tensors, own, strict=True):
            tensor.grad = 8.0 * torch.tensor(values, dtype=torch.float32)
        projections.pass_ended(torch.tensor(8.0))
        for tensor, values in zip(tensors, stepped, strict=True):
            tensor.grad = torch.tensor(values, dtype=torch.float32)
        rows.append(projections.before_step(1.0).numpy())
    return np.mean(rows, axis=0)[None]


def drawn(seed=0, tensors=2, spread=1.0):
    rng = np.random.default_rng(seed)
    center = [rng.normal(size=50) for _ in range(tensors)]
    return [[c + spread * rng.normal(size=50) for c in center] for _ in range(PROCESSES)]


def mean(gradients, factor=1.0):
    return [[factor * np.mean(parts, axis=0) for parts in zip(*gradients, strict=True)]] * (
        PROCESSES
    )


@pytest.mark.parametrize("factor", [1.0, 0.3, 1e-4])
@pytest.mark.parametrize("seed", range(5))
def test_the_factor_of_a_mean_that_was_clipped_is_found(factor, seed):
    gradients = drawn(seed)
    found = averages(columns(gradients, mean(gradients, factor)), PROCESSES)
    np.testing.assert_allclose(found.clip_factor, factor, rtol=1e-5)
    assert found.known.all()
    assert found.fault == ""


def test_a_tensor_that_took_no_part_tells_nothing_and_spoils_nothing():
    gradients = drawn()
    gradients = [[np.zeros(50), own[1]] for own in gradients]
    found = averages(columns(gradients, mean(gradients, 0.5)), PROCESSES)
    np.testing.assert_allclose(found.clip_factor, 0.5, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda gradients: gradients, "are not averaged"),
        (
            lambda gradients: mean(gradients, 3.0),
            "are added up over the 3 processes: right if each loss was divided by 3",
        ),
        (lambda gradients: mean(gradients, 5.0), "5 times their mean over 3 processes"),
        (
            lambda gradients: [[np.clip(g, -0.1, 0.1) for g in own] for own in mean(gradients)],
            "another vector",
        ),
        (lambda gradients: [[own[0], 0.5 * own[1]] for own in mean(gradients)], "another vector"),
    ],
)
def test_what_is_no_multiple_of_the_mean_is_told_of(change, why):
    gradients = drawn()
    found = averages(columns(gradients, change(gradients)), PROCESSES)
    assert not found.known.any()
    assert np.isnan(found.clip_factor).all()
    assert why in found.fault


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("factor", [1.0, 0.5])
def test_a_mean_that_was_changed_a_little_beside_a_factor_has_no_clip_factor(seed, factor):
    """As by reduction in low precision, or by noise that is added; its length stays known."""
    gradients, rng = drawn(seed), np.random.default_rng(seed)
    used = mean(gradients, factor)
    noise = [4e-3 * factor * rng.normal(size=50) for _ in used[0]]
    used = [[one + other for one, other in zip(own, noise, strict=True)] for own in used]
    found = averages(columns(gradients, used), PROCESSES)
    assert found.known.all()
    assert np.isnan(found.clip_factor).all()
    np.testing.assert_allclose(found.multiple, factor, rtol=0.02)


def test_a_mean_that_was_multiplied_by_more_than_1_was_not_clipped():
    gradients = drawn()
    found = averages(columns(gradients, mean(gradients, 1.01)), PROCESSES)
    assert np.isnan(found.clip_factor).all()
    np.testing.assert_allclose(found.multiple, 1.01, rtol=1e-6)


def test_without_a_gradient_nothing_is_known():
    found = averages(np.full((2, 3, 2 * DRAWS), np.nan), PROCESSES)
    assert not found.known.any()
    assert found.fault == ""


def test_signs_are_drawn_apart_from_the_training():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    Projections([torch.zeros(7)])
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("clipped", [1.0, 0.7, 0.1])
def test_a_declared_sum_is_known_also_where_it_was_clipped_to_below_the_mean(clipped):
    parts = [(drawn(seed), PROCESSES * c) for seed, c in ((0, clipped), (1, 1.0))]
    rows = np.concatenate([columns(gradients, mean(gradients, c)) for gradients, c in parts])
    weighted = np.array([True, True])
    found = averages(rows, PROCESSES, weighted=weighted)
    np.testing.assert_allclose(found.clip_factor, [clipped, 1.0], rtol=1e-5)
    assert found.added
    assert found.fault == ""
    later = averages(rows[:1], PROCESSES, weighted=weighted[:1], added=True)
    np.testing.assert_allclose(later.clip_factor, [clipped], rtol=1e-5)
    assert not averages(rows, PROCESSES).known.any()
