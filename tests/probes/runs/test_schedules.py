import math

import pytest
import torch

from ultraslow.probes.runs.schedules import (
    adapted_epochs,
    cosine_decay,
    iterations_of,
    milestones_of,
    polynomial_decay,
    step_decay,
    warm_up,
)

LAST = 40


def of_torch(make):
    """Rates of a torch scheduler at updates 1 to LAST, from rate 1."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = make(optimizer)
    rates = []
    for _ in range(LAST):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (
            lambda t: step_decay(t, (10, 25), 0.1),
            lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [10, 25], gamma=0.1),
        ),
        (
            lambda t: polynomial_decay(t, LAST, 2.0),
            lambda o: torch.optim.lr_scheduler.PolynomialLR(o, LAST, power=2.0),
        ),
        (
            lambda t: cosine_decay(t, LAST),
            lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, LAST),
        ),
        (
            lambda t: warm_up(t, 8),
            lambda o: torch.optim.lr_scheduler.LinearLR(o, start_factor=1 / 8, total_iters=7),
        ),
    ],
)
def test_each_regime_is_that_of_torch(ours, theirs):
    assert [ours(t) for t in range(1, LAST + 1)] == pytest.approx(of_torch(theirs), abs=1e-12)


def test_every_decay_starts_at_1_and_never_rises():
    decays = [
        lambda t: step_decay(t, (3, 9), 0.5),
        lambda t: polynomial_decay(t, LAST, 1.5),
        lambda t: cosine_decay(t, LAST),
    ]
    for decay in decays:
        rates = [decay(t) for t in range(1, LAST + 1)]
        assert rates[0] == 1
        assert rates == sorted(rates, reverse=True)
        assert rates[-1] > 0  # the last update still moves


def test_no_warm_up():
    assert warm_up(1, 0) == 1


def test_epochs_leave_incomplete_batches_out():
    assert iterations_of(3, data_size=50_000, batch_size=128) == 3 * 390
    assert iterations_of(0.5, data_size=100, batch_size=100) == 1


def test_adapted_epochs_keep_the_number_of_updates():
    for size in (128, 256, 1024, 4096):
        epochs = adapted_epochs(10, batch_size=size, base_batch_size=128)
        updates = iterations_of(epochs, data_size=2**15, batch_size=size)
        assert updates == iterations_of(10, data_size=2**15, batch_size=128)


@pytest.mark.parametrize("text", ["", "a", "0.5,", "0.7,0.5", "0,0.5", "0.5,1", "nan"])
def test_milestones_that_make_no_sense(text):
    with pytest.raises(ValueError, match="milestones: found .*, expected increasing fractions"):
        milestones_of(text, 100)


def test_cosine_at_a_third():
    # (1 + cos(π/3))/2 = 3/4
    assert cosine_decay(1 + 10, 30) == pytest.approx(0.75)
    assert math.isclose(polynomial_decay(1 + 10, 30, 1), 2 / 3)
