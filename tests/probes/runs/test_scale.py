from dataclasses import replace

import pytest

from probes.runs.checks import checked
from probes.runs.config import Config
from probes.runs.recipe import find, read, shipped
from probes.runs.scale import scaled

FULL = Config(
    batch_size=4096,
    microbatch=128,
    ghost_size=32,
    base_batch_size=64,
    samples=50_000,
    iterations=1000,
    warm_up=100,
    epochs=8.0,
    width=16,
)


def small(config, scale, processes=2):
    return scaled(config, scale, available=50_000, processes=processes)


def test_nothing_changes_at_full_size():
    assert small(FULL, 1.0) is FULL


def test_a_power_of_two_divides_everything():
    quarter = small(FULL, 0.25)
    assert quarter == replace(
        FULL,
        batch_size=1024,
        microbatch=32,
        ghost_size=8,
        base_batch_size=16,
        samples=12_500,
        iterations=250,
        warm_up=25,
        epochs=2.0,
        width=8,
        landscape_images=64,
    )
    assert quarter.peak_rate(50_000) == FULL.peak_rate(50_000)


def test_the_full_batch_stays_the_full_batch():
    for scale in (0.5, 0.1, 0.037, 0.0004):
        full = small(replace(FULL, batch_size=50_000, microbatch=250, ghost_size=0), scale)
        assert full.batch_size == full.samples, scale


@pytest.mark.parametrize("processes", [1, 2])
def test_every_scale_of_every_shipped_run_divides_over_processes_and_microbatches(processes):
    for name in shipped():
        for config in read(find(name)).runs:
            for scale in (0.9, 0.31, 0.1, 0.013, 0.0021):
                known = config.train_size(50_000)
                tiny = scaled(config, scale, available=known, processes=processes)
                assert tiny.batch_size <= tiny.samples, (name, config.run, scale)
                digits = replace(tiny, data="digits", data_folder="", samples=0, image_size=0)
                if tiny.batch_size <= 1440 and tiny.samples > tiny.batch_size:
                    checked(digits, processes)  # raises where something does not divide


def test_other_networks_keep_their_size():
    assert small(replace(FULL, model="wrn16-4", width=0), 0.1).width == 0


@pytest.mark.parametrize("scale", [0.0, -1.0, 1.5, float("nan")])
def test_scales_out_of_range_are_refused(scale):
    with pytest.raises(ValueError, match="scale: found .*, expected a number above 0 and at most"):
        small(FULL, scale)
