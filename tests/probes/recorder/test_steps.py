"""Kinds of optimizers and loops: iterations, rates and distance, beside what the weights did."""

import math
import warnings

import numpy as np
import pytest
import torch
import xarray as xr

from ultraslow import probes
from ultraslow.diffusion.recording import events_of

pytorch_optimizer = pytest.importorskip("pytorch_optimizer")

UPDATES, UNITS = 12, 2


def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))


def matrices(model):
    return [p for p in model.parameters() if p.ndim == 2]


def vectors(model):
    return [p for p in model.parameters() if p.ndim == 1]


class Loop:
    """A training whose distance and gradients are computed beside it in float64."""

    def __init__(self, make, path=None, **options):
        """With a recorder where there is a path."""
        self.model = network()
        self.optimizers = make(self.model)
        self.generator = torch.Generator().manual_seed(1)
        self.initial = [p.detach().double().clone() for p in self.model.parameters()]
        self.distance, self.trace, self.square = [], [], []
        self.recorder = None
        if path is not None:
            options = {"batch_size": 8, "schedule": range(UPDATES), "quiet": True, **options}
            self.recorder = probes.attach(self.model, self.optimizers, path, **options)

    def loss(self):
        inputs = torch.randn(4, 4, generator=self.generator)
        return (self.model(inputs) - inputs[:, :2]).square().mean() / UNITS

    def backward(self):
        """The units of an update, whose noise is computed from autograd.grad."""
        parts = []
        for _ in range(UNITS):
            loss = self.loss()
            found = torch.autograd.grad(loss, list(self.model.parameters()), retain_graph=True)
            parts.append([g.double() for g in found])
            loss.backward()
        sums = [sum(several) for several in zip(*parts, strict=True)]
        unit_sq = sum(float(g.square().sum()) for part in parts for g in part)
        total_sq = sum(float(g.square().sum()) for g in sums)
        self.square.append(total_sq)
        # S = Σ|h|², Big = |Σh|²; tr Σ = (S − u·Big)/((1 − u)·v), u = 1/k, v = 1/M
        self.trace.append((unit_sq - total_sq / UNITS) / (1 - 1 / UNITS) * 8)

    def zero_grad(self):
        self.model.zero_grad()

    def stepped(self):
        """An iteration has ended."""
        pairs = zip(self.model.parameters(), self.initial, strict=True)
        self.distance.append([float((p.detach().double() - q).square().sum()) for p, q in pairs])

    def compare(self, *, noise=True):
        """The recording, found to be right."""
        run = xr.load_dataset(self.recorder.close())
        assert run["iteration"].values.tolist() == list(range(len(self.distance) + 1))
        found = run["distance_sq"].values[1:] ** 0.5
        np.testing.assert_allclose(found, np.sqrt(self.distance), rtol=1e-6)
        if noise:
            for name, expected in (("noise_trace", self.trace), ("mean_sq", self.square)):
                total = run[name].sum("tensor").values[1:]
                np.testing.assert_allclose(total, expected, rtol=1e-5, err_msg=name)
        return run


def same_without(run, make, loop):
    """The weights are those of the same training without probes, bit for bit."""
    bare = Loop(make)
    run(bare)
    for one, other in zip(loop.model.parameters(), bare.model.parameters(), strict=True):
        assert torch.equal(one, other)


def together(loop):
    """All optimizers step after the units of an update."""
    several = loop.optimizers if isinstance(loop.optimizers, list) else [loop.optimizers]
    for _ in range(UPDATES):
        loop.backward()
        for optimizer in several:
            optimizer.step()
        loop.zero_grad()
        loop.stepped()


def muon_and_adamw(model):
    return [
        torch.optim.Muon(matrices(model), lr=0.02),
        torch.optim.AdamW(vectors(model), lr=0.003),
    ]


def test_muon_and_adamw(tmp_path):
    loop = Loop(muon_and_adamw, tmp_path / "run")
    together(loop)
    run = loop.compare()
    same_without(together, muon_and_adamw, loop)
    assert run["optimizer"].item() == "Muon+AdamW"
    assert run["tensor_group"].values.tolist() == [0, 1, 0, 1]
    assert (run["group_learning_rate"].values == [0.02, 0.003]).all()
    assert (run["learning_rate"].values == 0.02).all()
    assert "momentum" not in run.coords  # AdamW has none, Muon has
    assert events_of(run.attrs) == []


def prodigy(model):
    return pytorch_optimizer.Prodigy(model.parameters(), lr=0.5)


def schedule_free(model):
    return pytorch_optimizer.ScheduleFreeAdamW(model.parameters(), lr=0.01, warmup_steps=5)


def test_prodigy_is_recorded_with_the_rate_it_uses(tmp_path):
    estimates = []

    def train(loop):
        hook = loop.optimizers.register_step_pre_hook(
            lambda optimizer, *_: estimates.append(optimizer.param_groups[0]["d"])
        )
        together(loop)
        hook.remove()

    loop = Loop(prodigy, tmp_path / "run")
    train(loop)
    run = loop.compare()
    np.testing.assert_allclose(run["learning_rate"][1:], 0.5 * np.array(estimates), rtol=1e-6)
    assert estimates[-1] > estimates[0]
    np.testing.assert_allclose(run["learning_rate_sum"][-1], 0.5 * sum(estimates), rtol=1e-6)
    assert "d, times lr" in run.attrs["learning_rates"]
    same_without(together, prodigy, loop)


def test_schedule_free_is_recorded_with_its_warm_up(tmp_path):
    loop = Loop(schedule_free, tmp_path / "run")
    together(loop)
    expected = [0.01 * min(t / 5, 1) for t in range(1, UPDATES + 1)]
    np.testing.assert_allclose(loop.compare()["learning_rate"][1:], expected, rtol=1e-12)
    same_without(together, schedule_free, loop)


class Clipped(torch.optim.SGD):
    """A class whose step calls its parent's, which torch hooks as well."""

    def step(self, closure=None):
        torch.nn.utils.clip_grad_value_(self.param_groups[0]["params"], 0.01)
        return super().step(closure)


def test_a_step_that_calls_its_parents_is_one(tmp_path):
    torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)  # whose step is hooked then

    def clipped(model):
        return Clipped(model.parameters(), lr=0.1)

    loop = Loop(clipped, tmp_path / "run")
    together(loop)
    loop.compare()


def test_a_wrapper_around_the_optimizer_is_a_part_of_its_step(tmp_path):
    """Lookahead moves the weights after the inner step; the recording has them then."""

    def inner(model):
        return torch.optim.SGD(model.parameters(), lr=0.1)

    loop = Loop(inner, tmp_path / "run")
    outer = pytorch_optimizer.Lookahead(loop.optimizers, k=3)
    for _ in range(UPDATES):
        loop.backward()
        outer.step()
        loop.zero_grad()
        loop.stepped()
    assert events_of(loop.compare().attrs) == []


def critics(model):
    """A critic's layer and a generator's, as far as steps go."""
    return [
        torch.optim.Adam(model[0].parameters(), lr=0.01),
        torch.optim.Adam(model[2].parameters(), lr=0.02),
    ]


def in_turns(loop, every=3):
    """The first steps several times, then the second, each after backward passes of its own."""
    for _ in range(UPDATES):
        for _ in range(every):
            loop.loss().backward()
            loop.optimizers[0].step()
            loop.zero_grad()
        loop.loss().backward()
        loop.optimizers[1].step()
        loop.zero_grad()
        loop.stepped()


def test_optimizers_that_step_in_turns_have_no_one_gradient(tmp_path):
    loop = Loop(critics, tmp_path / "run")
    with pytest.warns(RuntimeWarning, match="attach a recorder to its module"):
        in_turns(loop)
        run = loop.compare(noise=False)
    assert "backward passes of their own" in run.attrs["noise_absent"]
    assert np.isnan(run["mean_sq"]).all()
    assert "gradient_sq" not in run
    assert (run["nonfinite_gradients"] == 0).all()
    same_without(in_turns, critics, loop)


def test_the_steps_of_one_may_be_the_iterations(tmp_path):
    loop = Loop(critics)
    options = {"batch_size": 8, "schedule": range(30), "quiet": True}
    loop.recorder = probes.attach(
        loop.model, loop.optimizers, tmp_path / "run", clock=loop.optimizers[0], **options
    )
    for update in range(30):
        loop.backward()
        loop.optimizers[0].step()
        loop.stepped()
        if update >= 20:  # joins late
            loop.optimizers[1].step()
        loop.zero_grad()
    run = xr.load_dataset(loop.recorder.close())
    assert run["iteration"].values.tolist() == list(range(31))
    np.testing.assert_allclose(
        run["distance_sq"].values[1:-1] ** 0.5, np.sqrt(loop.distance[:-1]), rtol=1e-6
    )
    np.testing.assert_allclose(run["noise_trace"].sum("tensor")[1:], loop.trace, rtol=1e-5)


def test_one_that_does_not_step_is_named_with_the_remedy(tmp_path):
    loop = Loop(critics, tmp_path / "run")
    with pytest.warns(RuntimeWarning, match="10 updates have ended no iteration, as Adam has not"):
        for _ in range(15):
            loop.backward()
            loop.optimizers[0].step()
            loop.zero_grad()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that an iteration has begun
        run = xr.load_dataset(loop.recorder.close())
    assert run["iteration"].values.tolist() == [0]


def sgd(model):
    return torch.optim.SGD(model.parameters(), lr=0.1)


def test_an_optimizer_that_replaces_another_goes_on(tmp_path):
    loop = Loop(sgd, tmp_path / "run")
    together(loop)
    loop.optimizers = torch.optim.Adam(loop.model.parameters(), lr=0.02)
    with pytest.warns(RuntimeWarning, match="Adam, another optimizer, steps in the place of SGD"):
        together(loop)
        run = xr.load_dataset(loop.recorder.close())
    assert int(run["iteration"][-1]) == 2 * UPDATES
    rates = run["learning_rate"].values[run["iteration"].values > 0]
    assert rates[0] == 0.1 and rates[-1] == 0.02
    ((iteration, _),) = events_of(run.attrs)
    assert iteration == UPDATES
    last = run["distance_sq"].values[-1] ** 0.5
    np.testing.assert_allclose(last, np.sqrt(loop.distance[-1]), rtol=1e-6)


def test_optimizers_that_own_a_part_end_no_iteration_and_are_named(tmp_path):
    loop = Loop(sgd, tmp_path / "run", schedule=[0])
    parts = [torch.optim.Adam([p], lr=0.01) for p in loop.model.parameters()]
    with pytest.warns(RuntimeWarning, match="Adam, which was not given to attach, moves 1 of"):
        loop.backward()
        for part in parts:
            part.step()
    assert loop.recorder.iteration == 0
    loop.recorder.close()


def test_a_rate_that_is_none_is_not_recorded(tmp_path):
    def rprop(model):
        return torch.optim.Rprop(model.parameters(), lr=0.01)

    with pytest.warns(RuntimeWarning, match="the learning rate is not recorded: Rprop has a rate"):
        loop = Loop(rprop, tmp_path / "run")
    together(loop)
    run = loop.compare()
    assert np.isnan(run["learning_rate"]).all()
    assert np.isnan(run["learning_rate_sum"][1:]).all()


def sam_steps(loop):
    for _ in range(UPDATES):
        loop.loss().backward()
        loop.optimizers.first_step(zero_grad=True)
        loop.loss().backward()
        loop.optimizers.second_step(zero_grad=True)
        loop.stepped()


def sam_closures(loop):
    def closure():
        loss = loop.loss()
        loss.backward()
        return loss

    for _ in range(UPDATES):
        closure()
        loop.optimizers.step(closure)
        loop.zero_grad()
        loop.stepped()


def sam(model):
    return pytorch_optimizer.SAM(model.parameters(), torch.optim.SGD, rho=0.05, lr=0.1)


@pytest.mark.parametrize("train", [sam_steps, sam_closures])
def test_sharpness_aware_updates_are_recorded_without_a_gradient(tmp_path, train):
    loop = Loop(sam, tmp_path / "run")
    with pytest.warns(RuntimeWarning, match="the weights moved between the backward passes"):
        train(loop)
        run = loop.compare(noise=False)
    assert "the weights moved between" in run.attrs["noise_absent"]
    assert np.isnan(run["mean_sq"]).all()
    assert (run["learning_rate"].values == 0.1).all()
    same_without(train, sam, loop)


def test_a_step_of_several_closures_is_an_iteration(tmp_path):
    def lbfgs(model):
        return torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=4)

    def train(loop):
        for _ in range(UPDATES):
            inputs = torch.randn(8, 4, generator=loop.generator)

            def closure(inputs=inputs):
                loop.zero_grad()
                loss = (loop.model(inputs) - inputs[:, :2]).square().mean()
                loss.backward()
                return loss

            loop.optimizers.step(closure)
            loop.stepped()

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        loop = Loop(lbfgs, tmp_path / "run")
        train(loop)
        run = loop.compare(noise=False)
    messages = [str(one.message) for one in told]
    assert ["LBFGS" in messages[0], "weights moved" in messages[1]] == [True] * 2, messages
    assert len(told) == 2
    assert "the weights moved between" in run.attrs["noise_absent"]
    assert np.isnan(run["mean_sq"]).all() and np.isnan(run["learning_rate"]).all()
    same_without(train, lbfgs, loop)


def test_what_autograd_returns_is_no_gradient_that_was_seen(tmp_path):
    loop = Loop(sgd, tmp_path / "run", flush_seconds=0.0)
    with pytest.warns(RuntimeWarning, match="no backward pass that adds to gradients was"):
        for _ in range(UPDATES):
            found = torch.autograd.grad(loop.loss(), list(loop.model.parameters()))
            for parameter, gradient in zip(loop.model.parameters(), found, strict=True):
                parameter.grad = gradient
            loop.optimizers.step()
            loop.stepped()
        assert list((tmp_path / "run").glob("segment*"))  # what is unknown holds nothing up
        run = loop.compare(noise=False)
    assert "torch.autograd.grad" in run.attrs["noise_absent"]
    assert np.isnan(run["mean_sq"]).all()
    assert (run["learning_rate"].values == 0.1).all()


def returned(loop, *, tell):
    """Updates whose gradients autograd.grad returns."""
    parameters = dict(loop.model.named_parameters())
    for update in range(UPDATES):
        parts = []
        for _ in range(UNITS):
            parts.append(torch.autograd.grad(loop.loss(), list(parameters.values())))
            tell(parts[-1] if update % 2 else dict(zip(parameters, parts[-1], strict=True)))
        for parameter, several in zip(parameters.values(), zip(*parts, strict=True), strict=True):
            parameter.grad = sum(several)
        wide = [[g.double() for g in part] for part in parts]
        sums = [sum(several) for several in zip(*wide, strict=True)]
        unit_sq = sum(float(g.square().sum()) for part in wide for g in part)
        loop.square.append(sum(float(g.square().sum()) for g in sums))
        loop.trace.append((unit_sq - loop.square[-1] / UNITS) / (1 - 1 / UNITS) * 8)
        torch.nn.utils.clip_grad_norm_(parameters.values(), 0.05)
        loop.optimizers.step()
        loop.stepped()


def test_gradients_that_are_handed_over_make_units(tmp_path):
    loop = Loop(sgd, tmp_path / "run")
    returned(loop, tell=lambda gradients: loop.recorder.gradients(gradients))
    run = loop.compare()
    assert (run["units"].values[1:] == UNITS).all()
    np.testing.assert_allclose(run["clip_factor"][1:], 0.05 / np.sqrt(loop.square), rtol=1e-4)
    assert run["samples"].values[-1] == 8 * UPDATES
    bare = Loop(sgd)
    returned(bare, tell=lambda gradients: None)
    for one, other in zip(loop.model.parameters(), bare.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_gradients_of_others_are_refused(tmp_path):
    loop = Loop(sgd, tmp_path / "run", schedule=[0])
    cases = [
        ([torch.ones(2)], "found 1, expected one for each of the 4 trainable parameters"),
        ({"3.weight": torch.ones(1)}, "found '3.weight', expected names as '0.weight'"),
        ({"2.bias": torch.ones(3)}, r"found shape \(3,\) for '2.bias', expected \(2,\)"),
    ]
    for gradients, message in cases:
        with pytest.raises(ValueError, match=message):
            loop.recorder.gradients(gradients)
    loop.recorder.close()
    with pytest.raises(RuntimeError, match="gradients: the recorder of .* is closed"):
        loop.recorder.gradients([])


def test_weights_that_are_moved_by_hand_are_told_of_with_the_remedy(tmp_path):
    loop = Loop(sgd, tmp_path / "run", schedule=[0])

    def move():
        with torch.no_grad():
            for parameter in loop.model.parameters():
                parameter.sub_(0.1 * parameter.grad)
        loop.zero_grad()

    with pytest.warns(RuntimeWarning, match="gradients were cleared 10 times .* lr=0.0") as told:
        for _ in range(25):
            loop.loss().backward()
            move()
    assert len(told) == 1
    loop.recorder.close()
    loop = Loop(lambda model: torch.optim.SGD(model.parameters(), lr=0.0), tmp_path / "remedy")
    with pytest.warns(RuntimeWarning, match="others have moved the weights"):
        for _ in range(UPDATES):
            loop.backward()
            move()
            loop.optimizers.step()
            loop.stepped()
        run = loop.compare()
    assert np.isnan(run["learning_rate"][1:]).all()
    assert "base_learning_rate" not in run.coords


def test_rates_are_those_of_optimizers_within_the_pass(tmp_path):
    def owner(model):
        return torch.optim.SGD(model.parameters(), lr=0.0)

    loop = Loop(owner, tmp_path / "run", batch_size=4)
    for parameter in loop.model.parameters():
        own = torch.optim.SGD([parameter], lr=0.1)

        def step(parameter, own=own):
            own.step()
            parameter.grad = None

        parameter.register_post_accumulate_grad_hook(step)
    for _ in range(UPDATES):
        loop.loss().backward()
        loop.optimizers.step()
        loop.stepped()
    run = loop.compare(noise=False)
    assert (run["learning_rate"].values[1:] == 0.1).all()
    assert run["base_learning_rate"].item() == 0.1
    assert events_of(run.attrs) == []


@pytest.mark.parametrize("what", ["step", "whole"])
def test_compiled_steps_are_counted(tmp_path, what):
    def adam(model):
        return torch.optim.Adam(model.parameters(), lr=0.01)

    def train(loop):
        step = torch.compile(lambda: loop.optimizers.step(), backend="eager")

        def all_of_it():
            loop.backward()
            loop.optimizers.step()

        whole = torch.compile(all_of_it, backend="eager")
        for _ in range(UPDATES):
            if what == "whole":
                whole()
            else:
                loop.backward()
                step()
            loop.zero_grad()
            loop.stepped()

    loop = Loop(adam, tmp_path / "run")
    train(loop)
    loop.compare()
    torch._dynamo.reset()
    same_without(train, adam, loop)
    torch._dynamo.reset()


def test_a_run_of_several_optimizers_goes_on_exactly(tmp_path):
    """From between two iterations, and from amid one of optimizers that step in turns."""
    straight = Loop(muon_and_adamw, tmp_path / "straight")
    together(straight)
    together(straight)
    first = Loop(muon_and_adamw, tmp_path / "parts")
    together(first)
    state = first.recorder.state_dict()
    first.recorder.__exit__(KeyError, None, None)  # killed
    second = Loop(muon_and_adamw)
    second.model.load_state_dict(first.model.state_dict())
    for one, other in zip(second.optimizers, first.optimizers, strict=True):
        one.load_state_dict(other.state_dict())
    second.generator.set_state(first.generator.get_state())
    options = {"batch_size": 8, "schedule": range(UPDATES), "quiet": True, "resume": state}
    swapped = second.optimizers[::-1]
    with pytest.raises(ValueError, match=r"tensor_group: found \[1, 0, 1, 0\], the recording"):
        probes.attach(second.model, swapped, tmp_path / "parts", **options)
    second.recorder = probes.attach(second.model, second.optimizers, tmp_path / "parts", **options)
    together(second)
    one, other = (xr.load_dataset(loop.recorder.close()) for loop in (straight, second))
    for name in ("iteration", "distance_sq", "noise_trace", "learning_rate_sum", "samples"):
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)
    assert math.isclose(float(one["group_learning_rate"][-1, 1]), 0.003)


def test_a_state_amid_an_iteration_is_gone_on_with(tmp_path):
    loop = Loop(critics, tmp_path / "run", probes=["distance"])

    def step(number):
        loop.loss().backward()
        loop.optimizers[number].step()
        loop.zero_grad()

    for number in (0, 0, 1, 0):
        step(number)
    state = loop.recorder.state_dict()
    loop.recorder.__exit__(KeyError, None, None)
    assert state["iteration"] == 1 and list(state["stepped"]) == [0]
    loop.recorder = probes.attach(
        loop.model,
        loop.optimizers,
        tmp_path / "run",
        batch_size=8,
        resume=state,
        quiet=True,
        probes=["distance"],
    )
    step(1)
    assert loop.recorder.iteration == 2
    loop.recorder.close()


def test_ending_amid_an_iteration_records_no_half_of_it(tmp_path):
    loop = Loop(critics, tmp_path / "run", schedule=[1], probes=["distance"])
    in_turns(loop, every=1)
    loop.loss().backward()
    loop.optimizers[0].step()
    with pytest.warns(RuntimeWarning, match=f"had stepped in iteration {UPDATES + 1}; the last"):
        run = xr.load_dataset(loop.recorder.close())
    assert run["iteration"].values.tolist() == [0, 1]


def test_faults_name_the_argument(tmp_path):
    model = network()
    first, second = critics(model)
    other = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    cases = [
        ([], {}, "optimizer: found none, expected one or a list of several"),
        ([first], {}, r"does not own 2 of .* attach\(model, \[first, second\], …\)"),
        ([first, second, first], {}, r"found \[Adam, Adam, Adam\], one of them twice"),
        ([first, second, other], {}, r"number 2 of \[Adam, Adam, SGD\] owns none .* leave it out"),
        (
            [first, second],
            {"clock": other},
            r"clock: found SGD, expected one of .* \[Adam, Adam\]",
        ),
    ]
    for given, options, message in cases:
        with pytest.raises(ValueError, match=message):
            probes.attach(model, given, tmp_path / "run", batch_size=8, **options)
    recorder = probes.attach(model, (first, second), tmp_path / "run", batch_size=8)
    with pytest.raises(ValueError, match="already attached"):
        probes.attach(model, [second, first], tmp_path / "other", batch_size=8)
    recorder.close()
    assert not (tmp_path / "other").exists()
