import math

import pytest
import torch

from ultraslow.probes.verification import Check, Toy, modes_alone, verify


def test_the_toy_has_the_gradient_it_claims():
    toy = Toy(width=9)
    inputs = torch.randn(5, 9)
    toy(inputs).mean().backward()
    gradient = torch.cat([toy.first.weight.grad[0], toy.second.weight.grad[0]])
    torch.testing.assert_close(gradient, inputs.mean(0))


def test_sound_wrapping_passes():
    found = verify(updates=150)
    assert found.passed
    assert (found.units, found.updates) == (2, 150)
    assert [check.truth for check in found.checks] == [4, 64, 16]
    assert all(check.low < check.estimate < check.high for check in found.checks)


def test_gradients_that_are_tampered_with_are_noticed():
    """A hook of the user's that doubles one layer's gradient before ours sees it."""

    def doubling(model):
        model.first.weight.register_hook(lambda gradient: 2 * gradient)
        return model

    found = verify(doubling, updates=150)
    assert not found.passed
    assert not found.checks[0].passed


def test_correlated_units_are_noticed():
    """A wrapper that feeds every second microbatch the one before: units are not independent."""

    class Repeating(torch.nn.Module):
        def __init__(self, toy):
            super().__init__()
            self.toy = toy
            self.last = None

        def forward(self, inputs):
            repeated, self.last = self.last, inputs if self.last is None else None
            return self.toy(inputs if repeated is None else repeated)

    found = verify(Repeating, updates=150)
    assert not found.passed


def test_one_unit_an_update_is_refused():
    with pytest.raises(
        ValueError, match=r"sizes: found \(16,\) on one process, .* expected 2 or more"
    ):
        verify(sizes=(16,))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"sizes": 16}, ValueError, "sizes: found 16, expected one number above 0 a microbatch"),
        ({"sizes": (16, 0)}, ValueError, r"sizes: found \(16, 0\), expected"),
        ({"updates": 2}, ValueError, "updates: found 2, expected an integer >= 20"),
        ({"wrap": lambda model: None}, TypeError, "wrap: returned NoneType, expected a module"),
    ],
)
def test_what_cannot_be_verified_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        verify(**options)


def test_where_the_probe_fails_nothing_is_claimed(monkeypatch):
    def fail(*_):
        raise OSError("gone")

    monkeypatch.setattr("ultraslow.probes.gradients.hooks.SquaresAgain.__call__", fail)
    with pytest.warns(RuntimeWarning, match="noise probe failed"):
        found = verify(updates=20)
    assert not found.passed
    assert found.updates == 0
    assert all(math.isnan(check.estimate) for check in found.checks)


@pytest.mark.parametrize(
    ("low", "high", "passed"), [(15, 17, True), (16.1, 17, True), (16.5, 17, False)]
)
def test_a_check_passes_when_the_interval_holds_the_truth(low, high, passed):
    assert Check("noise scale", 16.0, (low + high) / 2, low, high).passed == passed


def test_every_mode_is_verified_with_the_options_it_names():
    modes = modes_alone()
    assert modes["unequal units"].keywords["sizes"] == (4, 28)
    assert modes["float16 loss scaling"].keywords["scaler"].is_enabled()
    assert all(callable(mode) for mode in modes.values())
