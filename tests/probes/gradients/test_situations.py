"""Loops whose units are not equal, are not independent or are none, beside a slow computation."""

import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import situations
import torch
import units_run
import xarray as xr
from launches import torchrun
from situations import batch, called, compare, compare_with, mean_loss, recorded

from ultraslow import probes
from ultraslow.diffusion.recording import events_of


def remainders(model, optimizer, recorder, twin, *, batches=10, k=4, epochs=3, by="k", declare=()):
    """Epochs of as many batches, k of them an update, with a step at each epoch's end.

    Arguments:
        by: losses are divided by "k", or by the update's own number of units as Hugging Face does.
        declare: of "size" and "weight".
        batches: of 4 samples, or the sizes of all of them.
    """
    sizes = [4] * batches if isinstance(batches, int) else batches
    for _ in range(epochs):
        for start in range(0, len(sizes), k):
            part = sizes[start : start + k]
            share = 1 / k if by == "k" else 1 / len(part)
            for size in part:
                made = batch(size)
                twin.unit(share, size, partial(mean_loss, batch=made))
                if declare:
                    weight = {"weight": share} if "weight" in declare else {}
                    recorder.unit(size=size, **weight)
                (mean_loss(model, made) * share).backward()
            optimizer.step()
            optimizer.zero_grad()
            twin.step()


SHORT = [2, 5, 8]  # of three epochs


@pytest.mark.parametrize("by", ["k", "own"])
def test_remainders_of_epochs_are_left_out_and_counted(tmp_path, by):
    loop = partial(remainders, by=by)
    recording, twin, said = recorded(tmp_path, loop, batch_size=16)
    compare(recording, twin, left_out=SHORT)
    assert float(recording["samples"][-1]) == 3 * 40
    (once,) = said
    assert "an update had 2 units where 4 are usual" in once
    assert "Recorder.unit(size=its samples, weight=" in once


@pytest.mark.parametrize("by", ["k", "own"])
def test_remainders_that_are_declared_are_known(tmp_path, by):
    loop = partial(remainders, by=by, declare=("size", "weight"))
    recording, twin, said = recorded(tmp_path, loop, batch_size=16)
    compare(recording, twin)
    assert said == []


def test_sizes_without_weights_leave_open_what_a_remainder_was_divided_by(tmp_path):
    loop = partial(remainders, declare=("size",))
    recording, twin, said = recorded(tmp_path, loop, batch_size=16)
    compare(recording, twin, left_out=SHORT)
    assert len(said) == 1


def test_a_last_batch_that_is_short_is_seen_in_the_model_s_input(tmp_path):
    """As of a DataLoader with drop_last=False: as many units, fewer samples."""
    loop = partial(remainders, batches=[4] * 7 + [1], k=4)
    recording, twin, said = recorded(tmp_path, loop, batch_size=16)
    compare(recording, twin, left_out=[1, 3, 5])
    assert float(recording["samples"][-1]) == 3 * 29
    assert ["units of unequal sizes" in one for one in said] == [True]


def test_updates_of_equal_but_smaller_units_are_known(tmp_path):
    loop = partial(remainders, batches=[4] * 8 + [1] * 4)
    recording, twin, said = recorded(tmp_path, loop, batch_size=16)
    compare(recording, twin)
    assert said == []


def test_one_unit_updates_of_fewer_samples_are_counted_by_them(tmp_path):
    loop = partial(remainders, batches=[4, 4, 3], k=1)
    recording, twin, said = recorded(tmp_path, loop, batch_size=4)
    assert said == []
    np.testing.assert_array_equal(recording["samples"], twin.samples())


def other_units(model, optimizer, recorder, twin):
    """The same samples an update in more and more units."""
    for k in (2, 4, 8, 2):
        for _ in range(k):
            made = batch(16 // k)
            twin.unit(1 / k, 16 // k, partial(mean_loss, batch=made))
            (mean_loss(model, made) / k).backward()
        optimizer.step()
        optimizer.zero_grad()
        twin.step()


def test_an_update_of_the_whole_batch_size_is_known_in_whatever_units(tmp_path):
    recording, twin, said = recorded(tmp_path, other_units, batch_size=16)
    compare(recording, twin)
    assert said == []


def test_a_run_that_goes_on_knows_the_usual_number_of_units(tmp_path):
    """Its first update is a remainder, and all is as without the interruption."""

    def part(path, model, optimizer, updates, resume=None):
        options = {"batch_size": 16, "schedule": range(10), "resume": resume}
        recorder = probes.attach(model, optimizer, path, **options)
        for units in updates:
            for _ in range(units):
                (mean_loss(model, batch(4)) / 4).backward()
            optimizer.step()
            optimizer.zero_grad()
        return recorder

    updates = [4, 4, 2, 4, 4, 2, 4, 4, 2]
    recordings = []
    for cut in (None, 5):
        torch.manual_seed(1)
        model = situations.network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        path = tmp_path / f"{cut}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            recorder = part(path, model, optimizer, updates[:cut])
            if cut:
                state = recorder.state_dict()
                recorder.__exit__(KeyboardInterrupt, None, None)
                recorder = part(path, model, optimizer, updates[cut:], state)
            recordings.append(xr.load_dataset(recorder.close()))
    whole, resumed = recordings
    assert whole["noise_left_out"].values[1:].tolist() == [int(n == 2) for n in updates]
    for name in ("noise_trace", "gradient_sq", "samples", "noise_left_out", "units"):
        np.testing.assert_array_equal(whole[name], resumed[name], err_msg=name)


def unseen(loop):
    """The same with a model whose forward passes are not heard."""

    def without(model, optimizer, recorder, twin):
        for handle in list(model._forward_pre_hooks):
            del model._forward_pre_hooks[handle]
        loop(model, optimizer, recorder, twin)

    return without


def test_where_no_input_is_seen_the_commonest_number_of_units_makes_the_batch_size(tmp_path):
    recording, twin, said = recorded(tmp_path, unseen(remainders), batch_size=16)
    compare(recording, twin, left_out=SHORT)
    assert len(said) == 1


def ramp(model, optimizer, recorder, twin, *, declare=False):
    """From 2 to 8 units an update, each loss divided by their number."""
    for k in [2] * 12 + [4] * 12 + [8] * 12:
        for _ in range(k):
            made = batch(4)
            twin.unit(1 / k, 4, partial(mean_loss, batch=made))
            if declare:
                recorder.unit(size=4, weight=1 / k)
            (mean_loss(model, made) / k).backward()
        optimizer.step()
        optimizer.zero_grad()
        twin.step()


def test_a_ramp_that_is_declared_is_known(tmp_path):
    recording, twin, said = recorded(tmp_path, partial(ramp, declare=True), batch_size=32)
    compare(recording, twin)
    assert said == []


def test_a_ramp_up_to_the_batch_size_is_known_once_it_is_there(tmp_path):
    """Its inputs then add up to the batch size; before, nobody knows that rows are samples."""
    recording, twin, said = recorded(tmp_path, ramp, batch_size=32)
    compare(recording, twin, left_out=range(24))
    assert "batch_size is 32, but the inputs of an update had 8 rows" in said[0]


def test_a_ramp_from_the_batch_size_is_known_after_each_change(tmp_path):
    """Seven updates show that it is none of a remainder's."""
    recording, twin, _ = recorded(tmp_path, ramp, batch_size=8)
    compare(recording, twin, left_out=[*range(12, 19), *range(24, 31)])


def test_a_batch_size_that_the_inputs_contradict_is_told_of(tmp_path):
    """As that of one process, where there are several."""
    loop = partial(remainders, batches=8)
    recording, twin, said = recorded(tmp_path, loop, batch_size=4)
    compare(recording, twin, left_out=range(6))
    (once,) = said
    assert "batch_size is 4, but the inputs of an update had 16 rows" in once


def test_declared_units_hold_no_more_than_the_batch_size(tmp_path):
    loop = partial(remainders, batches=8, declare=("size", "weight"))
    recording, twin, said = recorded(tmp_path, loop, batch_size=8)
    compare(recording, twin)
    assert ["batch_size is 8, but the declared units hold 16 samples" in one for one in said] == [
        True
    ]


def tokens(model, optimizer, recorder, twin):
    """Losses are summed over tokens and divided by their number in the update."""
    lengths = torch.Generator().manual_seed(1)
    for _ in range(6):
        sizes = torch.randint(1, 9, (3,), generator=lengths).tolist()
        total = sum(sizes)
        for size in sizes:
            made = batch(size)
            twin.unit(size / total, size, partial(mean_loss, batch=made))
            recorder.unit(size=size, weight=size / total)
            (mean_loss(model, made) * size / total).backward()
        optimizer.step()
        optimizer.zero_grad()
        twin.step()


def test_units_that_are_weighted_by_tokens(tmp_path):
    recording, twin, said = recorded(tmp_path, tokens, batch_size=24)
    compare(recording, twin)
    assert said == []


@pytest.mark.parametrize("most", [24, 23])
def test_units_that_are_weighted_by_tokens_and_not_declared_are_left_out(tmp_path, most):
    """Whether the largest batch comes, or not; rows are samples all the same."""

    def undeclared(model, optimizer, _, twin):
        tokens(model, optimizer, situations.Absent(), twin)

    recording, twin, said = recorded(tmp_path, undeclared, batch_size=most)
    compare(recording, twin, left_out=range(6))
    assert ["Recorder.unit(size=" in one for one in said] == [True]


def penalty(model):
    return sum(p.square().sum() for p in model.parameters())


def apart(model, optimizer, recorder, twin, *, joined, forwards=1):
    """Two losses of each batch are backpropagated apart, with one forward pass or two."""
    for _ in range(6):
        for _ in range(3):
            made, other = batch(4), batch(4)

            def second(model, made=made, other=other):
                inputs = made[0] if forwards == 1 else other[0]
                return called(model, inputs).square().mean() / 3

            twin.unit(1 / 3, 4, partial(mean_loss, batch=made), lambda m: 3 * second(m))
            with recorder.one_unit() if joined else situations.nullcontext():
                out = model(made[0])
                loss = torch.nn.functional.cross_entropy(out, made[1]) / 3
                loss.backward(retain_graph=True)
                (out.square().mean() / 3 if forwards == 1 else second(model)).backward()
        optimizer.step()
        optimizer.zero_grad()
        twin.step()


@pytest.mark.parametrize("forwards", [1, 2])
def test_passes_that_are_one_unit(tmp_path, forwards):
    loop = partial(apart, joined=True, forwards=forwards)
    recording, twin, said = recorded(tmp_path, loop, batch_size=12)
    compare(recording, twin)
    assert said == []


@pytest.mark.parametrize(
    ("forwards", "words"),
    [(1, "two backward passes followed one forward pass"), (2, "an update had 24 rows")],
)
def test_passes_that_should_be_one_unit_are_told_of(tmp_path, forwards, words):
    loop = partial(apart, joined=False, forwards=forwards)
    recording, twin, said = recorded(tmp_path, loop, batch_size=12)
    assert (recording["noise_left_out"][1:] == 1).all()
    assert not recording["noise_updates"].any()
    assert words in said[0]
    if forwards == 1:
        assert "with recorder.one_unit():" in said[0]
        np.testing.assert_array_equal(recording["samples"], twin.samples())


def growing(model, optimizer, recorder, twin, *, declares):
    """One microbatch an update at first, then two, then four."""
    for count in [1] * 12 + [2] * 4 + [4] * 4:
        for _ in range(count):
            made = batch(4)
            twin.unit(1 / count, 4, partial(mean_loss, batch=made))
            if declares:
                recorder.unit(size=4, weight=1 / count)
            (mean_loss(model, made) / count).backward()
        optimizer.step()
        optimizer.zero_grad()
        twin.step()


@pytest.mark.parametrize("declares", [True, False])
def test_a_batch_that_grows_from_one_unit_has_the_noise_of_later_ones(tmp_path, declares):
    loop = partial(growing, declares=declares)
    recording, twin, said = recorded(tmp_path, loop, batch_size=16, flush_seconds=0.0)
    compare(recording, twin, left_out=() if declares else range(12, 16))
    assert len(said) == (0 if declares else 1)
    assert recording.attrs["noise_absent"].startswith("at first every update had one unit")


def test_a_batch_that_was_to_grow_and_did_not_says_why_there_is_no_noise(tmp_path):
    def one(model, optimizer, _, twin):
        for _ in range(6):
            made = batch(4)
            twin.unit(1.0, 4, partial(mean_loss, batch=made))
            mean_loss(model, made).backward()
            optimizer.step()
            optimizer.zero_grad()
            twin.step()

    recording, _, said = recorded(tmp_path, one, batch_size=16, flush_seconds=0.0)
    assert recording.attrs["noise_absent"].startswith("every update had one unit")
    assert np.isnan(recording["noise_trace"]).all()
    assert len(said) == 1


def penalized(model, optimizer, recorder, twin, *, at):
    """A penalty has a pass of its own: before, between or after the units."""
    for _ in range(6):
        for index in range(4):
            if index == at:
                with recorder.unmeasured():
                    (0.1 * penalty(model)).backward()
            if index < 3:
                made = batch(4)
                twin.unit(1 / 3, 4, partial(mean_loss, batch=made))
                (mean_loss(model, made) / 3).backward()
        optimizer.step()
        optimizer.zero_grad()
        twin.step()


@pytest.mark.parametrize("at", range(4))
def test_passes_that_are_no_units(tmp_path, at):
    recording, twin, said = recorded(tmp_path, partial(penalized, at=at), batch_size=12)
    compare(recording, twin)
    assert said == []
    assert np.isnan(recording["clip_factor"]).all()


def probing(model, optimizer, recorder, twin, *, to_none, within):
    """Gradients of a probe of the user's own are made and cleared between updates."""
    for _ in range(6):
        with recorder.unmeasured():
            mean_loss(model, batch(32)).backward()
            if within:
                model.zero_grad(set_to_none=to_none)
        model.zero_grad(set_to_none=to_none)
        for _ in range(3):
            made = batch(4)
            twin.unit(1 / 3, 4, partial(mean_loss, batch=made))
            (mean_loss(model, made) / 3).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=to_none)
        twin.step()


@pytest.mark.parametrize("to_none", [False, True])
@pytest.mark.parametrize("within", [False, True])
def test_passes_whose_gradients_are_cleared(tmp_path, to_none, within):
    loop = partial(probing, to_none=to_none, within=within)
    recording, twin, said = recorded(tmp_path, loop, batch_size=12)
    compare(recording, twin)
    assert said == []
    if to_none:
        np.testing.assert_allclose(recording["clip_factor"][1:], 1.0, rtol=1e-6)


def strange(model, optimizer, recorder, twin):
    """A large gradient is added by a pass that nobody told of, without the model's forward."""
    for update in range(6):
        for _ in range(3):
            made = batch(4)
            twin.unit(1 / 3, 4, partial(mean_loss, batch=made))
            (mean_loss(model, made) / 3).backward()
        if update > 2:
            for p in model.parameters():
                p.grad += 3 * p.detach()
        optimizer.step()
        optimizer.zero_grad()
        twin.step()


def test_gradients_that_were_changed_between_passes_and_step_are_told_of(tmp_path):
    recording, twin, said = recorded(tmp_path, strange, batch_size=12)
    compare(recording, twin)
    assert ["by more than one factor" in one for one in said] == [True]


def enlarged(model, optimizer, recorder, twin):
    """Gradients are another multiple of those of the losses at every update."""
    for update in range(6):
        for _ in range(3):
            made = batch(4)
            twin.unit(1 / 3, 4, partial(mean_loss, batch=made))
            (mean_loss(model, made) / 3).backward()
        for p in model.parameters():
            p.grad *= 2.111 + update
        optimizer.step()
        optimizer.zero_grad()
        twin.step()


def test_gradients_that_grew_before_the_step_are_told_of(tmp_path):
    """No clipping makes them larger, so each factor is known."""
    recording, twin, said = recorded(tmp_path, enlarged, batch_size=12)
    by = np.append(np.nan, 2.111 + np.arange(6))
    for name in ("gradient_sq", "noise_trace", "mean_sq"):
        recording[name] = recording[name] / by[:, None] ** 2
    compare(recording, twin)
    np.testing.assert_allclose(recording["clip_factor"][1:], 1.0, rtol=1e-5)
    assert ["multiplied by another number at each update" in one for one in said] == [True]


def kept(model, optimizer, recorder, twin, *, clear=lambda model: None, since=2):
    """Gradients are not cleared after some steps."""
    for update in range(1, 7):
        for _ in range(3):
            made = batch(4)
            twin.unit(1 / 3, 4, partial(mean_loss, batch=made))
            (mean_loss(model, made) / 3).backward()
        optimizer.step()
        if update + 1 < since:
            optimizer.zero_grad()
        else:
            clear(model)
        twin.step()


def decay(model):
    """A momentum that is made of gradients."""
    for p in model.parameters():
        p.grad *= 0.9


def zero_data(model):
    for p in model.parameters():
        p.grad.data.zero_()


@pytest.mark.parametrize(("clear", "since"), [(lambda model: None, 2), (decay, 2), (decay, 4)])
def test_updates_from_the_first_on_that_holds_earlier_gradients_are_unknown(
    tmp_path, clear, since
):
    loop = partial(kept, clear=clear, since=since)
    recording, twin, said = recorded(tmp_path, loop, batch_size=12)
    unknown = np.arange(1, 7) >= since
    for name, known in zip(("gradient_sq", "noise_trace"), twin.estimates(), strict=True):
        found = recording[name].sum("tensor", skipna=False).values[1:]
        np.testing.assert_allclose(found[~unknown], known[~unknown], rtol=1e-5)
        assert np.isnan(found[unknown]).all()
    assert np.isnan(recording["mean_sq"].values[1:]).all(axis=1).tolist() == unknown.tolist()
    assert ["were not cleared before the first backward pass" in one for one in said] == [True]
    noted = events_of(recording.attrs)
    assert [at for at, text in noted if "were not cleared" in text] == [since]


def test_gradients_that_are_set_to_zero_where_nobody_sees_it_are_cleared(tmp_path):
    loop = partial(kept, clear=zero_data)
    recording, twin, said = recorded(tmp_path, loop, batch_size=12)
    compare(recording, twin)
    assert said == []


def divided(model, optimizer, recorder, twin, *, by=3, clip=None, added=0.0, unseen=False):
    """Losses are not divided, or scaled; the gradients are, before the step."""
    for _ in range(12):
        for _ in range(3):
            made = batch(4)
            twin.unit(1 / 3, 4, partial(mean_loss, batch=made))
            (mean_loss(model, made) * by / 3).backward()
        for p in model.parameters():
            gradient = p.grad.data if unseen else p.grad
            gradient /= by
            gradient += added * torch.randn(p.shape) if added else 0.0
        if clip:
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        optimizer.zero_grad()
        twin.step()


@pytest.mark.parametrize(
    ("by", "words"),
    [
        (3, "divided by the number of backward passes"),
        *((by, "multiplied by one number between") for by in (10, 16, 100, 128, 1024, 65536, 0.5)),
    ],
)
def test_gradients_that_are_divided_after_all_passes(tmp_path, by, words):
    recording, twin, said = recorded(tmp_path, partial(divided, by=by), batch_size=12)
    compare(recording, twin)
    np.testing.assert_allclose(recording["clip_factor"][1:], 1.0, rtol=1e-6)
    assert [words in one for one in said] == [True]


@pytest.mark.parametrize("by", [10, 128, 1024])
def test_a_scale_of_the_loss_is_known_once_an_update_is_not_clipped(tmp_path, by):
    recording, twin, said = recorded(tmp_path, partial(divided, by=by, clip=0.46), batch_size=12)
    left = recording["noise_left_out"].values[1:].astype(bool)
    first = int(np.argmin(left))
    assert 0 < first < 11
    assert left.tolist() == [True] * first + [False] * (12 - first)
    for name, known in zip(("gradient_sq", "noise_trace"), twin.estimates(), strict=True):
        found = recording[name].sum("tensor", skipna=False).values[1:]
        np.testing.assert_allclose(found, np.where(left, np.nan, known), rtol=1e-5)
    assert (recording["clip_factor"].values[1 + first :] < 0.999).any()
    assert len(said) == 2


def test_a_loss_whose_scale_clipping_hides_is_left_out(tmp_path):
    loop = partial(divided, by=1024, clip=0.01)
    recording, _, said = recorded(tmp_path, loop, batch_size=12)
    assert ["changed twice between their passes and the step" in one for one in said] == [True]
    assert recording["noise_left_out"][1:].values.tolist() == [1] * 12
    for name in ("mean_sq", "noise_trace", "clip_factor"):
        assert np.isnan(recording[name]).all()
    assert recording["units"][1:].values.tolist() == [3] * 12
    assert recording["nonfinite_gradients"].sum() == 0
    assert recording["samples"].values.tolist() == [12 * n for n in range(13)]


def test_the_same_is_told_of_where_the_changes_cannot_be_seen(tmp_path):
    loop = partial(divided, by=1024, clip=0.01, unseen=True)
    _, _, said = recorded(tmp_path, loop, batch_size=12)
    words = ("tell whether that is clipping", "which is little for clipping")
    assert [word in one for word, one in zip(words, said, strict=True)] == [True, True]


def test_divided_gradients_are_left_out_while_clipping_hides_it(tmp_path):
    """The first updates are clipped; from the first on that is not, all are known."""
    loop = partial(divided, clip=0.46)
    recording, twin, said = recorded(tmp_path, loop, batch_size=12)
    left = recording["noise_left_out"].values[1:].astype(bool)
    first = int(np.argmin(left))
    assert 0 < first < 11
    assert left.tolist() == [True] * first + [False] * (12 - first)
    gradient_sq, noise = (np.where(left, np.nan, one) for one in twin.estimates())
    for name, known in (("gradient_sq", gradient_sq), ("noise_trace", noise)):
        found = recording[name].sum("tensor", skipna=False).values[1:]
        np.testing.assert_allclose(found, known, rtol=1e-5)
    assert [one.split(": ", 1)[1][:23] for one in said] == [
        "gradients were changed ",
        "gradients were divided ",
    ]


def test_noise_that_is_added_to_gradients_leaves_no_clip_factor(tmp_path):
    """A little of it, which changes squared norms by parts in a thousand."""
    loop = partial(divided, by=1, added=1e-3)
    recording, twin, said = recorded(tmp_path, loop, batch_size=12)
    compare(recording, twin)
    assert np.isnan(recording["clip_factor"]).all()
    assert ["clip_factor is not recorded" in one for one in said] == [True]


def scaled(model, optimizer, recorder, twin, *, clip=False):
    """Mixed precision whose scaler nobody gave, with a scale that changes."""
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16, growth_interval=2)
    for _ in range(6):
        for _ in range(3):
            made = batch(4)
            twin.unit(1 / 3, 4, partial(mean_loss, batch=made))
            scaler.scale(mean_loss(model, made) / 3).backward()
        if clip:
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.05)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        twin.step()


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("fused", [False, True])
def test_a_scaler_that_was_not_given_is_found(tmp_path, clip, fused):
    loop = partial(scaled, clip=clip)
    make = partial(torch.optim.SGD, lr=0.05, fused=fused)
    recording, twin, said = recorded(tmp_path, loop, batch_size=12, optimizer=make)
    compare(recording, twin)
    if clip:
        assert (recording["clip_factor"][1:] < 0.9).all()
    else:
        np.testing.assert_allclose(recording["clip_factor"][1:], 1.0, rtol=1e-5)
    assert ["a gradient scaler that was not given steps the optimizer" in one for one in said] == [
        True
    ]
    scales = recording["loss_scale"].values[1:]
    np.testing.assert_array_equal(scales, [2.0**k for k in (16, 16, 17, 17, 18, 18)])
    assert recording["skipped"].values.tolist() == [0] * 7


def within(model, optimizer, recorder, twin, clip):
    """The last pass of an update is made by the step, as in Lightning's own optimization."""
    for _ in range(6):
        for index in range(3):
            made = batch(4)
            twin.unit(1 / 3, 4, partial(mean_loss, batch=made))

            def closure(made=made, last=index == 2):
                loss = mean_loss(model, made) / 3
                loss.backward()
                if last and clip:
                    torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
                return loss

            if index < 2:
                closure()
        optimizer.step(closure)
        optimizer.zero_grad()
        twin.step()


@pytest.mark.parametrize("clip", [None, 1e-2])
def test_clipping_is_read_after_a_pass_within_the_step(tmp_path, clip):
    loop = partial(within, clip=clip)
    recording, twin, said = recorded(tmp_path, loop, batch_size=12)
    compare(recording, twin)
    norms = recording["mean_sq"].sum("tensor")[1:] ** 0.5
    expected = norms / norms if clip is None else clip / (norms + 1e-6)
    np.testing.assert_allclose(recording["clip_factor"][1:], expected, rtol=1e-4)
    assert said == []


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("units")
    torchrun(Path(units_run.__file__), folder)
    return folder


@pytest.mark.parametrize("name", units_run.CASES)
def test_units_of_two_processes(two_processes, name):
    recording = xr.load_dataset(two_processes / f"{name}.nc")
    compare_with(
        recording, np.load(two_processes / f"{name}.npz"), units_run.LEFT_OUT.get(name, ())
    )


@pytest.mark.parametrize("name", units_run.CLEARED)
def test_gradients_that_two_processes_do_not_clear_are_told(two_processes, name):
    """Also those of one of two optimizers; cleared late, before a pass of their own, they are."""
    *_, since = units_run.CLEARED[name]
    recording = xr.load_dataset(two_processes / f"{name}.nc")
    unknown = np.isnan(recording["mean_sq"].values[1:]).all(axis=1)
    expected = np.arange(1, 7) >= since if since else np.zeros(6, dtype=bool)
    assert unknown.tolist() == expected.tolist()
    assert np.isfinite(recording["distance_sq"]).all()
    for rank in (0, 1):
        said = (two_processes / f"{name} {rank}.txt").read_text()
        assert ("not cleared" in said) == bool(since), said
