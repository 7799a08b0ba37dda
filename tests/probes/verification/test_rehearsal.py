"""`us.verify` with a training of the user's own."""

import json
import math
import random
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from launches import torchrun
from torch.utils.checkpoint import checkpoint

import ultraslow as us

CUT = torch.nn.functional.cross_entropy


def network():
    torch.manual_seed(5)
    return torch.nn.Sequential(
        torch.nn.Linear(6, 9),
        torch.nn.BatchNorm1d(9),
        torch.nn.Dropout(0.2),
        torch.nn.Linear(9, 3),
    )


class Training:
    """A training of two passes an update, whose parts tests exchange."""

    def __init__(self, optimizer=torch.optim.AdamW, passes=2, **options):
        self.model = network()
        self.optimizer = optimizer(self.model.parameters(), lr=0.01, **options)
        self.passes = passes

    def loss(self, size=4):
        return CUT(self.model(torch.randn(size, 6)), torch.randint(3, (size,)))

    def step(self):
        for _ in range(self.passes):
            (self.loss() / self.passes).backward()
        self.commit()

    def commit(self):
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 0.1)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def verify(self, step=None, **options):
        options = {"batch_size": 4 * self.passes, **options}
        return us.verify(step or self.step, self.model, self.optimizer, **options)


def digits(found):
    return {row.quantity: row.digits for row in found.rows}


@pytest.mark.parametrize("optimizer", [torch.optim.AdamW, torch.optim.SGD, torch.optim.Adafactor])
def test_a_sound_training_is_right_to_the_digits_of_its_weights(optimizer, capsys):
    found = Training(optimizer).verify()
    assert found.passed, found
    assert (found.updates, found.units) == (3, 2)
    assert digits(found)["‖w − w₀‖²"] >= 7
    assert digits(found)["tr Σ"] >= 6
    assert digits(found)["samples"] == 15
    told = capsys.readouterr().out
    assert told == f"{found}\n"
    assert "Right to" in told.splitlines()[-1]


def test_the_computed_noise_is_that_of_gradients_one_by_one():
    """Against per-unit gradients that are computed here, at the weights of the update."""
    training = Training(torch.optim.SGD)
    units = []

    def step():
        for _ in range(2):
            loss = training.loss() / 2
            gradients = torch.autograd.grad(
                loss, tuple(training.model.parameters()), retain_graph=True
            )
            units.append(torch.cat([one.flatten().double() for one in gradients]))
            loss.backward()
        training.commit()

    found = training.verify(step, updates=1)
    first, second = units
    inner = float(first @ second)
    rows = {row.quantity: row.computed for row in found.rows}
    assert rows["|G|²"] == pytest.approx(4 * inner, rel=1e-5)
    # Two halves g₁/2 and g₂/2 of four samples each: tr Σ/4 = |g₁ − g₂|²/2.
    assert rows["tr Σ"] == pytest.approx(8 * float((first - second).square().sum()), rel=1e-5)
    assert found.passed


def test_nothing_is_left_behind():
    """Weights, moments, averages, schedules, gradients, and all random numbers."""
    training = Training()
    training.step()
    training.loss().backward()  # a gradient that waits
    critic = torch.nn.Linear(3, 1)
    second = torch.optim.LBFGS(critic.parameters(), max_iter=2)
    average = torch.optim.swa_utils.AveragedModel(training.model)
    plan = torch.optim.lr_scheduler.CosineAnnealingLR(training.optimizer, 10)
    generator = torch.Generator().manual_seed(3)
    data = torch.utils.data.TensorDataset(torch.randn(12, 6))
    loader = torch.utils.data.DataLoader(data, 4, shuffle=True, generator=generator)
    training.optimizer.zero_grad()

    def step():
        for (inputs,) in loader:
            CUT(training.model(inputs), torch.randint(3, (4,))).div(3).backward()
        training.commit()
        second.step(closure)
        average.update_parameters(training.model)
        plan.step()
        random.random(), np.random.default_rng(), np.random.rand(2)  # noqa: NPY002

    def closure():
        second.zero_grad()
        loss = critic(torch.randn(4, 3)).square().mean()
        loss.backward()
        return loss

    def state():
        modules = [training.model, critic, average]
        values = [value.clone() for one in modules for value in one.state_dict().values()]
        states = [training.optimizer.state_dict(), second.state_dict(), plan.state_dict()]
        numbers = [torch.get_rng_state(), generator.get_state()]
        others = [random.getstate(), np.random.get_state()[1].tolist()]  # noqa: NPY002
        gradients = [None if p.grad is None else p.grad.clone() for p in critic.parameters()]
        return flat([values, states, numbers, others, gradients])

    before = state()
    found = training.verify(step, batch_size=12)
    assert found.passed, found
    assert found.batches == 9
    assert "9 batches were taken" in found.sentence
    for was, now in zip(before, state(), strict=True):
        assert torch.equal(was, now) if isinstance(was, torch.Tensor) else was == now


def flat(value):
    """All leaves of nested lists and dictionaries, tensors copied."""
    if isinstance(value, dict):
        return [leaf for key in value for leaf in [key, *flat(value[key])]]
    if isinstance(value, list | tuple):
        return [leaf for one in value for leaf in flat(one)]
    return [value.clone() if isinstance(value, torch.Tensor) else value]


def test_training_goes_on_as_if_it_had_not_been_verified():
    plain, verified = Training(), Training()
    torch.manual_seed(1)
    plain.step(), plain.step()
    torch.manual_seed(1)
    verified.step()
    verified.verify()
    verified.step()
    for one, other in zip(plain.model.parameters(), verified.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_an_exception_in_the_step_leaves_nothing_behind_either():
    training = Training()
    before = [p.clone() for p in training.model.parameters()]

    def step():
        training.step()
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        training.verify(step)
    assert all(map(torch.equal, before, training.model.parameters()))
    assert torch.autograd.backward.__name__ == "backward"
    assert training.verify().passed


def test_tensors_of_the_program_that_move_are_told_of():
    training, average = Training(), torch.zeros(3)

    def step():
        training.step()
        average.add_(1)

    assert "1 tensors outside" in training.verify(step).sentence


def test_views_of_what_is_put_back_are_no_others():
    """They are written to and put back with it, also those of modules that are garbage."""
    training = Training()
    (first, *_), left = training.model.parameters(), torch.nn.Linear(3, 2)
    views = [first.detach(), left.weight.detach(), left.bias.detach().view(2, 1)]
    left.itself = [left]  # garbage in a moment
    del left
    before = [view.clone() for view in views]
    found = training.verify()
    assert found.passed
    assert "outside" not in found.sentence
    assert all(map(torch.equal, views, before))


def scaled(training, scaler):
    def step():
        for _ in range(2):
            scaler.scale(training.loss() / 2).backward()
        scaler.unscale_(training.optimizer)
        scaler.step(training.optimizer)
        scaler.update()
        training.optimizer.zero_grad()

    return step


def test_a_scaler_that_was_forgotten_is_named():
    training, scaler = Training(), torch.amp.GradScaler("cpu")
    state = scaler.state_dict()
    found = training.verify(scaled(training, scaler))
    assert found.status == "warned"
    assert "its scale is undone and recorded; pass scaler= to us.attach" in found.sentence
    assert training.verify(scaled(training, scaler), scaler=scaler).passed
    assert scaler.state_dict() == state


def test_steps_that_mixed_precision_skips_are_waited_for():
    training = Training()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)
    found = training.verify(scaled(training, scaler), scaler=scaler)
    assert found.passed, found
    assert found.updates == 3


def test_units_are_declared_to_the_recorder_that_the_step_is_given():
    training = Training()

    def step(recorder):
        for size in (2, 6):
            recorder.unit(size=size, weight=size / 8)
            (training.loss(size) * size / 8).backward()
        training.commit()

    found = training.verify(step)
    assert found.passed, found
    assert digits(found)["tr Σ"] >= 6


def test_a_batch_size_that_is_that_of_a_pass_is_told_of():
    found = Training().verify(batch_size=4)
    assert found.status == "warned"
    assert "pass batch_size=8" in found.sentence
    rows = {row.quantity: row for row in found.rows}
    assert rows["samples"].recorded == 8
    assert math.isnan(rows["tr Σ"].recorded)


def test_gradients_that_are_divided_instead_of_losses():
    training = Training(passes=3)

    def step():
        for _ in range(3):
            training.loss().backward()
        for parameter in training.model.parameters():
            parameter.grad /= 3
        training.optimizer.step()
        training.optimizer.zero_grad()

    found = training.verify(step)
    assert found.status == "warned"
    assert "divided by the number of backward passes" in found.sentence
    assert all(row.passed for row in found.rows)


def summed_by_token(training, sizes, recorder=None):
    """An update of losses that are summed over rows and divided by all rows of the update."""
    for size in sizes:
        if recorder is not None:
            recorder.unit(size=size, weight=size / sum(sizes))
        (training.loss(size) * size / sum(sizes)).backward()
    training.commit()


def test_units_of_unequal_rows_are_named_and_left_out_or_declared():
    training, turns = Training(), iter([(5, 28, 13), (8, 6, 9), (7, 29, 20)] * 2)
    found = training.verify(lambda: summed_by_token(training, next(turns)), batch_size=87)
    assert found.status == "warned"
    assert "Recorder.unit" in found.sentence
    assert "had 7, 29 and 20 rows" in found.sentence
    rows = {row.quantity: row for row in found.rows}
    assert rows["samples"].recorded == 56
    assert math.isnan(rows["tr Σ"].recorded)
    found = training.verify(
        lambda recorder: summed_by_token(training, next(turns), recorder), batch_size=87
    )
    assert found.passed, found
    assert "if each" not in found.sentence


def divided_then_clipped(training, clip, *, unseen=True):
    for _ in range(3):
        training.loss().backward()
    for parameter in training.model.parameters():
        gradient = parameter.grad.data if unseen else parameter.grad
        gradient /= 3
    clip(training.model.parameters(), 0.1)
    training.optimizer.step()
    training.optimizer.zero_grad()


def test_gradients_that_are_divided_and_then_clipped_are_seen_where_clipping_begins():
    training = Training(passes=3)
    clip = lambda *arguments: torch.nn.utils.clip_grad_norm_(*arguments)  # noqa: E731
    found = training.verify(lambda: divided_then_clipped(training, clip))
    assert found.status == "wrong"
    assert "9 times too large: divide the losses" in found.sentence
    noise = found.rows[3]
    assert noise.recorded == pytest.approx(9 * noise.computed, rel=1e-4)


def test_gradients_that_are_seen_to_be_changed_twice_are_left_out():
    training = Training(passes=3)
    clip = lambda *arguments: torch.nn.utils.clip_grad_norm_(*arguments)  # noqa: E731
    found = training.verify(lambda: divided_then_clipped(training, clip, unseen=False))
    assert found.status == "warned"
    assert "changed twice between their passes and the step" in found.sentence
    assert np.isnan([row.recorded for row in found.rows[1:4]]).all()


def test_a_clipping_of_ones_own_may_hide_a_division():
    training = Training(passes=3)

    def clip(parameters, most):
        listed = list(parameters)
        norm = torch.stack([p.grad.norm() for p in listed]).norm()
        for one in listed:
            one.grad *= most / norm

    found = training.verify(lambda: divided_then_clipped(training, clip))
    assert found.status == "warned"
    assert "if they were divided by 3 and then clipped" in found.sentence


def test_what_is_taken_for_granted_of_losses_is_in_the_sentence():
    assert "if each of the 3 losses was divided by 3" in Training(passes=3).verify().sentence
    assert "if each" not in Training(passes=2).verify(batch_size=4).sentence  # and not right


def test_updates_of_several_sizes_are_declared_or_left_out():
    training, turn = Training(), iter([2, 4, 3] * 2)

    def step(recorder, *, declared=True):
        passes = next(turn)
        for _ in range(passes):
            if declared:
                recorder.unit(size=4, weight=1 / 4)
            (training.loss() / 4).backward()
        training.commit()

    found = training.verify(step, batch_size=16)
    assert found.passed, found
    assert digits(found)["tr Σ"] >= 6
    found = training.verify(lambda recorder: step(recorder, declared=False), batch_size=16)
    assert found.status == "warned"
    assert "|G|², tr Σ, which are unknown" in found.sentence


def test_passes_that_are_one_unit_and_passes_that_are_none():
    training = Training()

    def step(recorder):
        for _ in range(2):
            with recorder.one_unit():
                (training.loss() / 2).backward()
                (training.loss() / 2).backward()
        with recorder.unmeasured():
            sum(p.square().sum() for p in training.model.parameters()).backward()
        training.commit()

    found = training.verify(step)
    assert found.units == 2
    assert {row.quantity for row in found.rows if not row.passed} == set(), found
    assert digits(found)["tr Σ"] >= 6


@pytest.mark.parametrize("by_name", [False, True])
def test_gradients_that_no_backward_pass_makes_are_given(by_name):
    training = Training(torch.optim.SGD)
    named = dict(training.model.named_parameters())

    def step(recorder):
        total = [torch.zeros_like(p) for p in named.values()]
        for _ in range(2):
            found = torch.autograd.grad(training.loss() / 2, tuple(named.values()))
            given = dict(reversed(list(zip(named, found, strict=True))))
            recorder.gradients(given if by_name else found)
            total = [a + b for a, b in zip(total, found, strict=True)]
        for parameter, gradient in zip(named.values(), total, strict=True):
            parameter.grad = gradient
        training.optimizer.step()
        training.optimizer.zero_grad()

    found = training.verify(step)
    assert found.passed, found
    assert digits(found)["tr Σ"] >= 6


def test_one_pass_an_update_has_no_noise_to_verify():
    found = Training(passes=1).verify()
    assert found.status == "unknown"
    assert "the last update had 1 units" in found.sentence
    assert digits(found)["‖w − w₀‖²"] >= 7


def test_a_step_that_updates_nothing_or_twice_is_refused_with_the_remedy():
    training, other = Training(), Training()
    found = training.verify(other.step)
    assert found.status == "wrong"
    assert "no update of the optimizer that was given" in found.sentence
    found = training.verify(lambda: (training.step(), training.step()))
    assert found.status == "wrong"
    assert "made 2 updates in one call" in found.sentence


def test_what_the_recorder_warns_of_is_in_the_sentence_and_other_warnings_go_on():
    training = Training(passes=3)

    def step():
        warnings.warn("mine", UserWarning, stacklevel=1)
        training.step()

    with pytest.warns(UserWarning, match="mine"):
        found = training.verify(step, batch_size=16)
    assert found.status == "warned"
    assert "equal units" in found.sentence
    assert found.warnings


@pytest.mark.parametrize("quantity", ["‖w − w₀‖²", "tr Σ"])
def test_a_probe_that_measures_wrongly_is_caught(quantity, monkeypatch):
    """The measurement itself is tampered with, by one part in ten thousand or in a hundred."""
    from ultraslow.probes.gradients import hooks
    from ultraslow.probes.quantities import distance

    square, distances = hooks.SquaresAgain.__call__, distance.squared_distances
    if quantity == "tr Σ":
        monkeypatch.setattr(hooks.SquaresAgain, "__call__", lambda *a: 1.01 * square(*a))
    else:
        monkeypatch.setattr(distance, "squared_distances", lambda *a: distances(*a) * 1.0001)
    found = Training().verify()
    assert found.status == "wrong"
    assert quantity in found.sentence


@pytest.mark.parametrize("reentrant", [False, True])
def test_layers_that_are_computed_again_in_the_backward_pass(reentrant):
    training = Training()
    first, *rest = training.model
    rest = torch.nn.Sequential(*rest)

    def step():
        for _ in range(2):
            inputs = torch.randn(4, 6, requires_grad=True)
            hidden = checkpoint(first, inputs, use_reentrant=reentrant)
            (CUT(rest(hidden), torch.randint(3, (4,))) / 2).backward()
        training.commit()

    found = training.verify(step)
    if not reentrant:
        assert found.passed, found
        return
    assert found.status == "warned"
    assert "set use_reentrant=False" in found.sentence
    rows = {row.quantity: row for row in found.rows}
    assert math.isnan(rows["tr Σ"].recorded)
    assert rows["tr Σ"].computed > 0
    assert rows["‖w − w₀‖²"].passed


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verified")
    torchrun(Path(__file__).with_name("verify_run.py"), folder)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]


def test_processes_verify_together(together):
    first, second = together
    # Of the last two noise is unknown, and no NaN is another.
    apart = {"by hand, not told", "one process's batch size", "FSDP2, float16"}
    assert {k: v for k, v in first.items() if k not in apart} == {
        k: v for k, v in second.items() if k not in apart
    }
    for name, found in first.items():
        assert found["same"], name
        assert found["updates"] == 3
        if name == "by hand, not told":
            assert found["status"] == "warned"
            assert "attach with processes=True" in found["sentence"]
        elif name == "FSDP2, float16":
            assert found["status"] == "unknown"
            assert "divided before they are reduced in float16" in found["sentence"]
        elif name == "one process's batch size":
            assert found["status"] == "warned"
            assert "pass batch_size=16" in found["sentence"]
        else:
            assert found["status"] == "right", (name, found["sentence"])
            assert found["digits"]["tr Σ"] >= (2 if name == "compressed" else 6), name
            assert found["digits"]["‖w − w₀‖²"] >= 7, name
    assert first["DDP"]["units"] == 2
    assert first["accumulated"]["units"] == 6
