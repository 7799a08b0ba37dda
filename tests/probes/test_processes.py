import torch

from probes.processes import Processes, parameter_names, processes_of


def test_a_plain_module_trains_alone():
    assert processes_of(torch.nn.Linear(1, 1)) == Processes(1, 0, (), 1)
    assert Processes().add(torch.ones(2)).tolist() == [1, 1]


def test_names_are_those_of_the_unwrapped_model():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    model[1].weight = model[0].weight  # shared: named and counted once
    plain = list(parameter_names(model))
    assert plain == ["0.weight", "0.bias", "1.bias"]
    assert list(parameter_names(torch.compile(model))) == plain
