import math

import torch

from ultraslow.probes.steps import Optimizers


def problem():
    weights = [torch.nn.Parameter(torch.ones(1)) for _ in range(3)]
    first = torch.optim.SGD([{"params": weights[2:], "lr": 0.3}], lr=0.1)
    second = torch.optim.Adam([{"params": weights[:1]}, {"params": weights[1:2], "lr": 0.2}])
    return weights, first, second


def test_groups_are_counted_through_all_optimizers():
    weights, first, second = problem()
    both = Optimizers([first, second], weights)
    assert both.slots == 3
    assert both.tensor_slots == [1, 2, 0]
    assert both.rates() == [0.3, 0.001, 0.2]
    assert both.numbers(second) == {1}
    assert both.owned(second) == {0, 1}


def test_a_new_optimizer_takes_the_place_of_those_whose_tensors_it_owns():
    weights, first, second = problem()
    both = Optimizers([first, second], weights)
    whole = torch.optim.SGD([{"params": weights[:2], "lr": 0.4}, {"params": weights[2:]}], lr=0.5)
    part = torch.optim.SGD(weights[:1], lr=0.6)
    assert both.numbers(whole) == {0, 1}
    assert both.numbers(part) == set()
    said = both.replace({0, 1}, whole)
    assert "SGD, another optimizer, steps in the place of SGD and Adam" in said
    assert both.rates() == [0.5, 0.4, 0.4]
    assert both.replace({0, 1}, whole) == ""
    assert both.replace({0}, first) == ""
    assert both.rates() == [0.3, 0.4, 0.4]


def test_rates_of_optimizers_that_step_in_the_pass_are_theirs():
    weights, _, _ = problem()
    owner = torch.optim.SGD(weights, lr=0.0)
    one = Optimizers([owner], weights)
    own = [torch.optim.SGD([weight], lr=0.1) for weight in weights]
    one.begins(owner)  # finds no gradient
    for each in own:
        one.steps_within(each)
    assert one.rates(seen=True) == [0.1]
    for each, rate in zip(own, (0.1, 0.1, 0.2), strict=True):
        each.param_groups[0]["lr"] = rate
        one.steps_within(each)
    assert math.isnan(one.rates(seen=True)[0])  # they differ
    assert math.isnan(one.rates(seen=True)[0])  # others than optimizers have moved the weights
    weights[0].grad = torch.ones(1)
    one.begins(owner)
    assert one.rates(seen=True) == [0.0]


def test_parameters_that_begin_to_train_are_counted_once():
    weights, first, second = problem()
    both = Optimizers([first, second], weights)
    assert both.newcomers() == 0
    second.add_param_group({"params": [torch.nn.Parameter(torch.ones(1))]})
    assert [both.newcomers(), both.newcomers()] == [1, 0]
    assert both.slots == 3
