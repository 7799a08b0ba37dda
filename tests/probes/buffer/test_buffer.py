import math

import numpy as np
import pytest
import torch

from ultraslow.probes.buffer.buffer import Buffer, InFlight, Row, _sent
from ultraslow.probes.buffer.units import UnitShares
from ultraslow.probes.buffer.window import Snapshot
from ultraslow.probes.distributed.processes import Processes


def departed(vector):
    """A vector on its way to the host."""
    host, arrival = _sent(vector, Processes())
    buffer = Buffer(vector.device, 2)
    return InFlight(vector, host, arrival, [len(vector)], buffer, 1)


def test_on_the_host_it_has_arrived_at_once():
    flight = departed(torch.arange(5, dtype=torch.float64))
    assert flight.has_arrived()
    assert not flight.is_beside
    assert flight.wait().tolist() == [0, 1, 2, 3, 4]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_an_accelerator_it_takes_what_the_training_stream_had_made_by_then():
    """And neither what that stream makes later, nor memory that it was given back."""
    for size in (10, 1_000_000):
        vector = torch.zeros(size, dtype=torch.float64, device="cuda")
        torch.cuda._sleep(100_000_000)
        vector += 1
        flight = departed(vector)
        assert flight.is_beside
        assert not flight.has_arrived()
        del vector
        torch.full((size,), 7.0, dtype=torch.float64, device="cuda")
        assert (flight.wait() == 1).all()
        assert flight.has_arrived()


def vector(*values):
    return torch.tensor(values, dtype=torch.float64)


def reduce(buffer):
    return buffer.depart(Processes(), seconds=3.0).land()


def row(
    unit_sq,
    total_sq,
    *,
    units=2,
    learning_rate=0.5,
    skipped=0,
    before=(4, 8, 0),
    after=(1, 2.0001, 0),
):
    shares = UnitShares(units, float(units), float(units))
    places = torch.tensor([[0, 1, 2], [2, 1, 0]])
    clipping = vector(*before), vector(*reversed(after)), places
    return Row(vector(*unit_sq), vector(*total_sq), *clipping, shares, learning_rate, 8.0, skipped)


def test_everything_comes_back_in_its_place():
    buffer = Buffer(torch.device("cpu"), 2)
    buffer.losses[-1] += [vector(1.0)[0], vector(3.0)[0]]
    buffer.add(row((1, 2), (3, 4)))
    buffer.add(row((5, 6), (7, 8), units=4, learning_rate=torch.tensor(0.25), skipped=1))
    buffer.losses[-2].append(vector(float("inf"))[0])
    buffer.losses[-1].append(vector(9.0)[0])
    values = {"step_sq": vector(1, 2), "held_out": np.array([0.5]), "sketch": vector(5, 6, 7)}
    buffer.snapshots.append(Snapshot(2, values, 0.5, 0.1))
    found = reduce(buffer)
    assert found.updates.unit_sq.tolist() == [[1, 2], [5, 6]]
    assert found.updates.total_sq.tolist() == [[3, 4], [7, 8]]
    assert found.updates.units.tolist() == [2, 4]
    assert found.updates.sums[:, :4].tolist() == [[2, 2, 2, 0], [4, 4, 4, 0]]
    assert found.updates.loss[0] == 2.0
    assert np.isnan(found.updates.loss[1])
    assert found.updates.nonfinite_losses.tolist() == [0, 1]
    assert found.updates.learning_rate.tolist() == [0.5, 0.25]
    assert found.updates.clip_factor.tolist() == [0.5, 0.5]
    assert found.updates.loss_scale.tolist() == [8, 8]
    assert found.updates.skipped.tolist() == [0, 1]
    (snapshot,) = found.snapshots
    assert snapshot.iteration == 2
    assert {name: snapshot.array(name).tolist() for name in snapshot.values} == {
        "step_sq": [1, 2],
        "held_out": [0.5],
        "sketch": [5, 6, 7],
    }
    assert found.update_seconds == 1.5
    assert [float(loss) for loss in buffer.emptied().losses[0]] == [9.0]


def test_nothing_waiting_is_no_fault():
    found = reduce(Buffer(torch.device("cpu"), 2))
    assert len(found.updates) == 0
    assert found.snapshots == []


@pytest.mark.parametrize("loss", [None, "0.5", [1.0, [2.0]]])
def test_a_loss_is_a_number(loss):
    with pytest.raises(TypeError, match=f"loss: found {type(loss).__name__}, expected a number"):
        Buffer(torch.device("cpu"), 2).observe(loss, making=True)


def test_a_loss_is_one_value():
    buffer = Buffer(torch.device("cpu"), 2)
    with pytest.raises(ValueError, match=r"found torch.float32 of shape \(3,\), expected one"):
        buffer.observe(torch.ones(3), making=True)
    with pytest.raises(ValueError, match="found torch.complex64 .* expected one real value"):
        buffer.observe(torch.tensor(1j), making=True)
    buffer.observe(torch.ones(1, 1), making=True)
    assert buffer.losses[-1] == [1.0]


@pytest.mark.parametrize(
    ("after", "factor", "in_half"),
    [
        ((1, 2, 4), 0.5, 0.5),
        ((1, 2.0001, 4), 0.5, 0.5),
        ((1, 2.03, 4), np.nan, 0.5),
        ((1, 2.1, 4), np.nan, np.nan),
        ((1, 2, 3.9), np.nan, np.nan),
        ((4.04, 8.08, 16.16), math.sqrt(1.01), 1.0),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_clipping_by_several_factors_is_noticed(after, factor, in_half, dtype):
    """Squares of three witnesses; those of one factor differ by rounding."""
    factor = factor if dtype == torch.float32 else in_half
    buffer = Buffer.of([torch.zeros(1), torch.zeros(1, dtype=dtype)])
    buffer.add(row((1, 2), (3, 4), before=(4, 8, 16), after=after))
    found = reduce(buffer).updates
    assert found.clip_factor.tolist() == pytest.approx([factor], nan_ok=True)
    assert found.uneven_clipping.tolist() == [bool(np.isnan(factor))]


@pytest.mark.parametrize(
    ("before", "after", "factor"),
    [
        ((0, 8, 16), (0, 2, 4), 0.5),
        ((0, 8, 16), (0, 2, 8), np.nan),
        ((0, 0, 0), (0, 0, 0), np.nan),
    ],
)
def test_a_witness_that_took_no_part_leaves_the_clip_factor_to_the_others(before, after, factor):
    buffer = Buffer(torch.device("cpu"), 2)
    buffer.add(row((1, 2), (3, 4), before=before, after=after))
    found = reduce(buffer).updates
    assert found.clip_factor.tolist() == pytest.approx([factor], nan_ok=True)
    assert found.uneven_clipping.tolist() == [after == (0, 2, 8)]
