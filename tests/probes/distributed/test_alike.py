import numpy as np
import pytest
import torch

from ultraslow.probes.distributed.alike import (
    in_place,
    moved_apart,
    of_distances,
    of_weights,
    refuse_unlike,
)
from ultraslow.probes.distributed.processes import Processes

RANKS = Processes(3, 1, (), 3, ranks=(4, 5, 6))


def drawn(seed, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator).to(dtype) for shape in ((300, 40), (7,))]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_the_number_is_that_of_the_weights_and_zeros_add_nothing(dtype):
    weights = drawn(0, dtype)
    expected = 0.0
    for weight in weights:
        values = weight.double().numpy()
        square = np.sum(values**2)
        expected += np.log(square) + values.sum() / np.sqrt(square * values.size)
    found = of_weights([*weights, torch.zeros(5)])
    assert float(found) == pytest.approx(expected, abs=1e-5)


def test_matrices_of_one_norm_are_told_apart():
    first, second = (torch.linalg.qr(drawn(seed)[0].T @ drawn(seed)[0])[0] for seed in (0, 1))
    assert abs(float(of_weights([first]) - of_weights([second]))) > 1e-3


def test_a_small_tensor_that_moved_otherwise_shows():
    distance_sq, weight_sq = torch.tensor([1e4, 1e-2]).double(), torch.tensor([1e6, 1.0]).double()
    other = torch.tensor([1e4, 1.1e-2]).double()
    one, two = (float(of_distances(found, weight_sq)) for found in (distance_sq, other))
    assert two - one == pytest.approx(np.log(1.1), rel=1e-3)
    nothing = torch.zeros(2).double()
    assert float(of_distances(nothing, nothing)) == 0


def test_each_process_has_its_place_and_shards_have_none():
    number = torch.tensor(2.5).double()
    assert in_place(number, RANKS).tolist() == [0, 2.5, 0]
    assert len(in_place(number, Processes(3, 1, (), 1))) == 0
    assert len(in_place(number, Processes())) == 0
    refuse_unlike(drawn(0), Processes())


@pytest.mark.parametrize(
    ("numbers", "found"),
    [
        ([1.0, 1.0, 1.0], ""),
        ([1.0, 1.001, 1.0], ""),
        ([1.0, 1.0, 1.5], "process 6 of 3 holds other weights than process 4; average"),
        ([1.0, 1.5, 1.5], "processes 5, 6 of 3 hold other weights than process 4"),
        ([np.nan] * 3, ""),
        ([], ""),
    ],
)
def test_processes_whose_weights_differ_are_named(numbers, found):
    told = moved_apart(np.array(numbers), RANKS)
    assert told.startswith(found)
    assert bool(told) == bool(found)
