import pytest
import torch

from ultraslow.probes.distributed.processes import Processes
from ultraslow.probes.quantities.landscape.batches import Batches, refuse_hooks
from ultraslow.probes.quantities.landscape.directions import unit_direction


class Line(torch.nn.Module):
    """L(w; x) = ⟨w, x⟩, so the gradient of a batch is the batch."""

    def __init__(self, width=4):
        super().__init__()
        self.w = torch.nn.Parameter(torch.ones(width))

    def forward(self, x):
        return self.w @ x


def batches(model, values, **options):
    settings = {"training": True, "processes": Processes(), **options}
    return Batches(
        lambda m, x: m(x), values, model, parameters=list(model.parameters()), **settings
    )


def test_losses_and_gradients_of_a_line():
    values = [torch.tensor([1.0, 2, 3, 4]), torch.tensor([0.0, 0, 1, 0])]
    found = batches(Line(), values)
    assert found.losses().tolist() == [10, 1]
    assert [parts[0].tolist() for parts in found.gradients()] == [[1, 2, 3, 4], [0, 0, 1, 0]]
    assert not found.sharded


def test_directions_of_two_batches_lie_along_their_difference():
    values = [torch.tensor([1.0, 2, 3, 4]), torch.tensor([0.0, 0, 1, 0])]
    model = Line()
    generator = torch.Generator().manual_seed(0)
    direction = unit_direction(batches(model, values).noise(), 0, generator)[0]
    apart = values[0] - values[1]
    assert abs(float(direction @ apart / apart.norm())) == pytest.approx(1, rel=1e-6)
    assert model.w.grad is None


@pytest.mark.parametrize("training", [True, False])
def test_gradients_are_taken_in_the_mode_of_the_landscape(training):
    model = Line().train(not training)
    modes = []
    found = Batches(
        lambda m, x: modes.append(m.training) or m(x),
        [torch.ones(4)],
        model,
        training,
        list(model.parameters()),
        Processes(),
    )
    found.gradients()
    assert modes == [training]
    assert model.training is not training


def test_hooks_on_accumulated_gradients_are_refused():
    model = Line()
    refuse_hooks(list(model.parameters()))
    model.w.register_post_accumulate_grad_hook(lambda p: None)
    with pytest.raises(ValueError, match="expected the other kinds of directions"):
        refuse_hooks(list(model.parameters()))
