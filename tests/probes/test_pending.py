import numpy as np
import torch

from probes.pending import Mark, Pending
from probes.processes import Processes
from probes.units import UnitShares


def vector(*values):
    return torch.tensor(values, dtype=torch.float64)


def reduce(pending):
    return pending.reduce(Processes(), seconds=3.0, weighted=False, sized=False, batch_size=8)


def test_everything_comes_back_in_its_place():
    pending = Pending(torch.device("cpu"), 2)
    pending.losses[-1] += [vector(1.0)[0], vector(3.0)[0]]
    pending.add_update(vector(1, 2), vector(3, 4), UnitShares(2, 2.0, 0.0, 0.0), 0.5)
    pending.add_update(
        vector(5, 6), vector(7, 8), UnitShares(4, 4.0, 0.0, 0.0), torch.tensor(0.25)
    )
    pending.losses[-2].append(vector(float("inf"))[0])
    pending.losses[-1].append(vector(9.0)[0])
    pending.marks.append(Mark(2, torch.tensor([[1.0, 2], [3, 4]], dtype=torch.float64), 0.5, 0.1))
    found = reduce(pending)
    assert found.updates.unit_sq.tolist() == [[1, 2], [5, 6]]
    assert found.updates.total_sq.tolist() == [[3, 4], [7, 8]]
    assert found.updates.units.tolist() == [2, 4]
    assert found.updates.u.tolist() == [0.5, 0.25]
    assert found.updates.v.tolist() == [1 / 8, 1 / 8]
    assert found.updates.samples.tolist() == [8, 8]
    assert found.updates.loss[0] == 2.0
    assert np.isnan(found.updates.loss[1])
    assert found.updates.nonfinite_losses.tolist() == [0, 1]
    assert found.updates.learning_rate.tolist() == [0.5, 0.25]
    assert [(m.iteration, m.squares.tolist()) for m in found.measurements] == [
        (2, [[1, 2], [3, 4]])
    ]
    assert found.update_seconds == 1.5
    assert [float(loss) for loss in pending.emptied().losses[0]] == [9.0]


def test_nothing_pending_is_no_fault():
    found = reduce(Pending(torch.device("cpu"), 2))
    assert len(found.updates) == 0
    assert found.measurements == []


def test_a_learning_rate_tensor_is_read_when_it_was_used():
    pending = Pending(torch.device("cpu"), 1)
    rate = torch.tensor(0.5)
    pending.add_update(vector(1), vector(1), UnitShares(1, 1.0, 0.0, 0.0), rate)
    rate.fill_(0.1)
    assert reduce(pending).updates.learning_rate.tolist() == [0.5]
