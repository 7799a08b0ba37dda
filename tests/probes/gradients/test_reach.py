"""Passes that reach other parameters each, beside a slow computation."""

from functools import partial

import numpy as np
import pytest
import situations
import torch
from situations import CLASSES, WIDTH, batch, called, compare, mean_loss, recorded


def heads(model, optimizer, recorder, twin, *, detached, joined):
    """Two losses of parts of the model, which itself is never called, as actor and critic have."""

    def first(model, made):
        return called(model[0], made[0]).square().mean()

    def second(model, made):
        features = called(model[0], made[0]).tanh()
        return model[2](features.detach() if detached else features).square().mean()

    for _ in range(6):
        for _ in range(2):
            made = batch(4)
            losses = [partial(first, made=made), partial(second, made=made)]
            twin.unit(1 / 2, 4, *losses)
            with recorder.one_unit() if joined else situations.nullcontext():
                for loss in losses:
                    (loss(model) / 2).backward()
        optimizer.step()
        optimizer.zero_grad()
        twin.step()


@pytest.mark.parametrize("detached", [True, False])
def test_passes_that_reach_other_parameters_each_are_told_of(tmp_path, detached):
    loop = partial(heads, detached=detached, joined=False)
    recording, twin, said = recorded(tmp_path, loop, batch_size=8)
    assert (recording["noise_left_out"][1:] == 1).all()
    assert np.isnan(recording["noise_trace"]).all()
    np.testing.assert_array_equal(recording["samples"], twin.samples())
    assert ["or reached other parameters each" in one for one in said] == [True]
    joined = partial(heads, detached=detached, joined=True)
    (tmp_path / "joined").mkdir()
    recording, twin, said = recorded(tmp_path / "joined", joined, batch_size=8)
    compare(recording, twin)
    assert said == []


def by_parts(model, optimizer, recorder, twin, *, joined, losses=2):
    """The parts of the model are called one by one; two losses of one graph reach all of them."""

    def out(model, made):
        return model[2](called(model[0], made[0]).tanh())

    for _ in range(6):
        for _ in range(2):
            made = batch(4)
            wanted = [lambda m, b=made: torch.nn.functional.cross_entropy(out(m, b), b[1])]
            wanted += [lambda m, b=made: out(m, b).square().mean()] * (losses - 1)
            twin.unit(1 / 2, 4, *wanted)
            found = out(model, made)
            with recorder.one_unit() if joined else situations.nullcontext():
                loss = torch.nn.functional.cross_entropy(found, made[1]) / 2
                loss.backward(retain_graph=losses == 2)
                if losses == 2:
                    (found.square().mean() / 2).backward()
        optimizer.step()
        optimizer.zero_grad()
        twin.step()


def test_two_losses_of_one_graph_are_told_of_where_the_model_is_called_by_its_parts(tmp_path):
    recording, _, said = recorded(tmp_path, partial(by_parts, joined=False), batch_size=8)
    assert (recording["noise_left_out"][1:] == 1).all()
    assert ["or reached other parameters each" in one for one in said] == [True]


@pytest.mark.parametrize("losses", [1, 2])
def test_units_of_a_model_that_is_called_by_its_parts(tmp_path, losses):
    loop = partial(by_parts, joined=losses == 2, losses=losses)
    recording, twin, said = recorded(tmp_path, loop, batch_size=8)
    compare(recording, twin)
    assert said == []


class Routed(torch.nn.Module):
    """Experts of which an input meets one; called as a whole, or by its parts."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.first = torch.nn.Linear(WIDTH, 8)
        self.experts = torch.nn.ModuleList(torch.nn.Linear(8, CLASSES) for _ in range(3))

    def forward(self, inputs):
        chosen = self.experts[int(inputs[0, 0] * 1000) % 3]
        return chosen(self.first(inputs).tanh())


def routed(model, optimizer, recorder, twin):
    for _ in range(8):
        for _ in range(3):
            made = batch(4)
            twin.unit(1 / 3, 4, partial(mean_loss, batch=made))
            (mean_loss(model, made) / 3).backward()
        optimizer.step()
        optimizer.zero_grad()
        twin.step()


def test_units_whose_router_chooses_other_experts_are_units(tmp_path, monkeypatch):
    monkeypatch.setattr(situations, "network", Routed)
    recording, twin, said = recorded(tmp_path, routed, batch_size=12)
    compare(recording, twin)
    assert said == []
