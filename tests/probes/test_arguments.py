import pytest
import torch

from probes.arguments import PROBES, check_optimizer, check_types, check_values


def test_sound_arguments_are_let_through():
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    check_types(model, optimizer, "run", scaler=None, flush_seconds=60)
    check_values(model, "run", 0.0, batch_size=1, probes=PROBES)
    check_optimizer(optimizer, dict(model.named_parameters()))


@pytest.mark.parametrize("seconds", [float("nan"), -1.0])
def test_times_that_are_none(seconds):
    with pytest.raises(ValueError, match="flush_seconds: found .* expected a time, >= 0"):
        check_values(torch.nn.Linear(2, 1), "run", seconds, batch_size=1, probes=None)


def test_a_text_is_no_list_of_probes():
    with pytest.raises(TypeError, match=r"probes: found 'noise', .* as \['noise'\]"):
        check_values(torch.nn.Linear(2, 1), "run", 1.0, batch_size=1, probes="noise")
