"""Runs of the reference loop, each started by torchrun."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from diffusion.recording import check
from probes.runs.config import Config
from probes.runs.launch import events

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


def trained(configs, processes):
    """Recordings by run, and the events told."""
    told = list(events(configs, processes))
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
        replace(common, name="clipped", clip=1e-3),
        replace(common, name="decayed", weight_decay=0.1),
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
        assert recording["iteration"].values[-1] == {"full": 2, "longer": 80}.get(name, 6)
        assert int(recording["ghost_size"]) == {"full": 120, "longer": 80}.get(name, 60)
        assert int(recording["world_size"]) == 2
        assert int(recording["data_size"]) == 1440


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
