"""Runs of the reference loop, each started by torchrun."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr

from ultraslow.analysis.runs import constant_rate, fitted_at, injected_noise, label, noise_free
from ultraslow.analysis.runs.arms import SETTING, arm
from ultraslow.diffusion.recording import FIELDS
from ultraslow.diffusion.recording.contract import check
from ultraslow.probes.runs.config import Config
from ultraslow.probes.runs.jobs.launch import Training
from ultraslow.probes.runs.training.train import add_noise, inject


def test_noise_has_the_asked_deviation_and_leaves_the_mean():
    gradients = [torch.full((300, 400), 2.0), torch.full((50_000,), 2.0)]
    add_noise(gradients, 0.3, torch.Generator().manual_seed(0))
    for gradient in gradients:
        count = gradient.numel()
        # Five standard errors of mean and deviation.
        assert float(gradient.mean()) == pytest.approx(2.0, abs=5 * 0.3 / count**0.5)
        assert float(gradient.std()) == pytest.approx(0.3, rel=5 / (2 * count) ** 0.5)


def test_components_are_independent_between_tensors_and_steps():
    generator = torch.Generator().manual_seed(0)
    first, second, later = (torch.zeros(10_000) for _ in range(3))
    add_noise([first, second], 1.0, generator)
    add_noise([later], 1.0, generator)
    correlations = torch.corrcoef(torch.stack([first, second, later]))[0, 1:]
    assert correlations.abs().max() < 0.05


def test_memory_layout_does_not_change_the_noise():
    plain = torch.zeros(2, 3, 4, 5)
    last = torch.zeros(2, 3, 4, 5).to(memory_format=torch.channels_last)
    for gradient in (plain, last):
        add_noise([gradient], 1.0, torch.Generator().manual_seed(0))
    assert torch.equal(plain, last)


def test_steps_with_noise_diffuse():
    weights = torch.zeros(20_000, requires_grad=True)
    optimizer = torch.optim.SGD([weights], lr=0.5)
    handle = inject(optimizer, 0.2, torch.Generator().manual_seed(1))
    for _ in range(9):
        weights.grad = torch.zeros_like(weights)
        optimizer.step()
    # Nine independent steps of deviation η·s = 0.1: 0.3.
    assert float(weights.detach().std()) == pytest.approx(0.3, rel=0.05)
    handle.remove()
    before = weights.detach().clone()
    weights.grad = torch.zeros_like(weights)
    optimizer.step()
    assert torch.equal(weights, before)


def test_other_hooks_that_came_first_see_the_gradient_without_noise():
    weights = torch.zeros(3, requires_grad=True)
    optimizer = torch.optim.SGD([weights], lr=1.0)
    seen = []
    optimizer.register_step_pre_hook(lambda *_: seen.append(weights.grad.clone()))
    inject(optimizer, 5.0, torch.Generator().manual_seed(0))
    weights.grad = torch.ones(3)
    optimizer.step()
    assert torch.equal(seen[0], torch.ones(3))


COMMON = Config(
    model="resnet8",
    width=4,
    batch_size=240,
    microbatch=60,
    iterations=6,
    base_learning_rate=0.1,
    device="cpu",
)
# What the wall clock decides.
TIMES = ["wall_time", "probe_seconds"]
# Last iterations and ghost sizes that are not 6 and 60.
LAST = {"full": 2, "same": 2, "wide": 2, "longer": 80}
GHOSTS = {"full": 120, "same": 8, "longer": 80, "ghosts": 30, "small-parts": 30}


def trained(configs, processes):
    """Recordings by run, and the events told."""
    told = list(Training(configs, processes).events())
    paths = {config.run: f"{config.path}.nc" for config in configs}
    return {run: xr.load_dataset(path) for run, path in paths.items()}, told


def variants(folder):
    """Runs that differ in one setting; training all in one start saves seconds a run."""
    common = replace(COMMON, folder=str(folder))
    return [
        replace(common, name="plain"),
        replace(common, name="again"),
        replace(common, name="other-seed", seed=1),
        replace(common, name="full", batch_size=1440, microbatch=120, iterations=2),
        replace(
            common,
            name="same",
            batch_size=1440,
            microbatch=120,
            ghost_size=8,
            iterations=2,
            augment=False,
        ),
        replace(common, name="clipped", clip=1e-3),
        replace(common, name="decayed", weight_decay=0.1),
        replace(common, name="ghosts", ghost_size=30),
        replace(common, name="small-parts", microbatch=30),
        replace(common, name="noisy", gradient_noise=3.0),
        replace(common, name="cosine", decay="cosine", warm_up=3),
        replace(common, name="forgetful", batch_size=720, reset_momentum=True),
        replace(common, name="steady", batch_size=720),
        replace(common, name="wide", model="wrn10-1", width=0, optimizer="adamw", iterations=2),
        replace(common, name="bf16", precision="bf16"),
        replace(common, name="longer", width=8, batch_size=160, microbatch=80, iterations=80),
    ]


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Recordings and events on two processes."""
    return trained(variants(tmp_path_factory.mktemp("two")), 2)


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """Recordings of the first runs on one process."""
    folder = tmp_path_factory.mktemp("one")
    return trained(variants(folder)[:1], 1)[0]


def distance(recording):
    return np.sqrt(recording["distance_sq"].sum("tensor").values)


def test_recordings_are_sound_and_complete(two):
    recordings, _ = two
    for name, recording in recordings.items():
        check(recording, name)
        assert str(recording["run"].values) == name
        assert recording["iteration"].values[-1] == LAST.get(name, 6)
        assert int(recording["ghost_size"]) == GHOSTS.get(name, 60)
        assert int(recording["world_size"]) == 2
        assert int(recording["data_size"]) == 1440


def test_added_noise_is_what_analysis_reads(two):
    """A coordinate; recordings made before there was one hold it among their settings."""
    for name, recording in two[0].items():
        added = 3.0 if name == "noisy" else 0.0
        assert float(recording["added_noise"]) == injected_noise(recording) == added
        assert injected_noise(recording.drop_vars("added_noise")) == added


def test_what_analysis_groups_by_is_in_the_recordings(two):
    """Every declared coordinate of a run, with the value of the setting that it stands for."""
    declared = {name for name, field in FIELDS.items() if not field.dims}
    for config in variants("folder"):
        recording = two[0][config.run]
        there = {name for name in declared if name in recording.coords}
        whole = config.batch_size == 1440
        assert there == declared - (set() if whole else {"gradient_difference"})
        found = {name: recording[name].values.item() for name in there}
        for name in ("seed", "model", "optimizer", "scaling", "batch_size", "weight_decay"):
            assert found[name] == getattr(config, name)
        assert (found["data"], found["data_size"], found["run"]) == ("digits", 1440, config.run)
        assert found["momentum"] == config.momentum and found["world_size"] == 2
        assert found["ghost_size"] == config.statistics_size(2)
        assert found["base_learning_rate"] == pytest.approx(config.rate(1, config.peak_rate(1440)))
        own = arm(recording)
        assert (own.batch_size, own.scaling, own.noise) == (
            config.batch_size,
            config.scaling,
            config.gradient_noise,
        )
        for name in SETTING:
            if name != "weights":
                assert label(recording, name, None) is not None, name


def test_the_full_batch_is_free_of_noise_where_its_updates_are_one_gradient(two):
    """Ghost batches of 8 in a fixed order; images that are shifted at random are not."""
    recordings, _ = two
    assert float(recordings["same"]["gradient_difference"]) < 1e-6
    assert noise_free(recordings["same"]) is True
    assert float(recordings["full"]["gradient_difference"]) > 0.01
    assert noise_free(recordings["full"]) is False
    assert noise_free(recordings["plain"]) is False


def test_one_seed_is_bit_identical(two, tmp_path):
    recordings, _ = two
    again, _ = trained(variants(tmp_path)[:1], 2)
    for other in (recordings["again"], again["plain"]):
        xr.testing.assert_equal(
            recordings["plain"].drop_vars([*TIMES, "run"]), other.drop_vars([*TIMES, "run"])
        )


def test_seeds_differ(two):
    recordings, _ = two
    assert np.all(distance(recordings["plain"])[1:] != distance(recordings["other-seed"])[1:])


def test_two_processes_equal_one_with_the_same_batches(two, one):
    recordings, _ = two
    np.testing.assert_allclose(
        distance(recordings["plain"])[1:], distance(one["plain"])[1:], rtol=1e-5
    )
    np.testing.assert_allclose(
        recordings["plain"]["loss"][1:], one["plain"]["loss"][1:], rtol=1e-5
    )


def test_full_batch_counts_every_image_once_an_update(two):
    recordings, _ = two
    full = recordings["full"]
    assert full["samples"].values.tolist() == [0, 1440, 2880]
    assert full["units"].values[1:].tolist() == [12, 12]
    assert full["unit_size"].values[1:].tolist() == [120, 120]


def test_clipping_bounds_the_update(two):
    recordings, _ = two
    # ‖Δw₁‖ = η·min(‖g‖, clip) = 0.1·1e-3.
    assert distance(recordings["clipped"])[1] == pytest.approx(1e-4, rel=1e-3)


def test_weight_decay_shrinks_weights(two):
    recordings, _ = two
    decayed, plain = (recordings[name]["weight_sq"].sum("tensor") for name in ("decayed", "plain"))
    assert float(decayed[-1]) < float(plain[-1])


def test_ghost_batches_equal_microbatches_of_their_size(two):
    recordings, _ = two
    ghosts, parts = recordings["ghosts"], recordings["small-parts"]
    np.testing.assert_allclose(distance(ghosts)[1:], distance(parts)[1:], rtol=1e-5)
    assert int(ghosts["ghost_size"]) == int(parts["ghost_size"]) == 30
    assert ghosts["units"].values[1] == 4
    assert parts["units"].values[1] == 8


def test_injected_noise_moves_the_weights(two):
    recordings, _ = two
    noisy = recordings["noisy"]
    count = int(noisy["tensor_size"].sum())
    # ‖Δw₁‖² = η²·(‖g‖² + N·s² + …); N·s² = 9·N dwarfs the gradient.
    assert distance(noisy)[1] == pytest.approx(0.1 * 3.0 * count**0.5, rel=0.05)
    # The probes saw the gradient before the noise, on an update whose weights are still the same.
    assert float(noisy["mean_sq"].sum("tensor")[1]) == pytest.approx(
        float(recordings["plain"]["mean_sq"].sum("tensor")[1]), rel=1e-5
    )


def test_learning_rates_of_a_regime_are_recorded(two):
    recordings, _ = two
    expected = [0.1 * min(1, t / 3) * (1 + np.cos(np.pi * (t - 1) / 6)) / 2 for t in range(1, 7)]
    np.testing.assert_allclose(recordings["cosine"]["learning_rate"].values[1:], expected)


def test_momentum_is_forgotten_at_each_epoch_only_where_asked(two):
    recordings, _ = two
    forgetful, steady = distance(recordings["forgetful"]), distance(recordings["steady"])
    # Two updates make an epoch: the paths part at the third.
    assert np.array_equal(forgetful[:3], steady[:3])
    assert np.all(forgetful[3:] < steady[3:])


def test_bf16_trains_like_fp32(two):
    recordings, _ = two
    half, full = distance(recordings["bf16"])[1:], distance(recordings["plain"])[1:]
    assert not np.array_equal(half, full)
    # bf16 has 8 bits of mantissa; over six updates the paths stay within a few per cent.
    np.testing.assert_allclose(half, full, rtol=0.1)


def test_events(two):
    _, told = two
    assert told[0] == {"event": "start"}
    ends = [event for event in told if event["event"] == "end"]
    assert [event["run"] for event in ends] == [config.run for config in variants("")]
    assert all(0 <= event["accuracy"] <= 1 for event in ends)


def test_training_learns(two):
    recordings, told = two
    loss = recordings["longer"]["loss"].values
    # Ten classes by chance: loss ln 10 = 2.30, accuracy 0.1.
    assert loss[1] > 1.8
    assert loss[-1] < 1.0
    [end] = [event for event in told if event["event"] == "end" and event["run"] == "longer"]
    assert end["accuracy"] > 0.7


def test_a_small_training_set_is_fitted_and_ends_the_phase(tmp_path):
    images = {"samples": 240, "augment": False, "batch_size": 120, "iterations": 60}
    few = replace(COMMON, folder=str(tmp_path), name="few", base_learning_rate=0.2, **images)
    recordings, _ = trained([few], 1)
    run = recordings["few"]
    at = fitted_at(run)
    assert 5 < at < 45
    assert constant_rate(run).iteration[-1] == at
    loss = run["loss"].sel(iteration=slice(2 * at, None))
    assert (loss < 0.05 * run["loss"][1]).all()
