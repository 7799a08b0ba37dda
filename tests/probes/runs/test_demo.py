import pytest

from probes.runs.checks import checked
from probes.runs.demo import study


def test_batch_sizes_up_to_the_full_training_set_with_several_seeds():
    configs = study("demo")
    assert max(config.batch_size for config in configs) == 1440
    sizes = {config.batch_size for config in configs}
    seeds = {config.seed for config in configs}
    assert len(sizes) >= 3 and len(seeds) >= 2
    assert len({config.run for config in configs}) == len(sizes) * len(seeds)


def test_one_size_of_microbatches_so_that_statistics_and_noise_units_agree():
    assert len({config.microbatch for config in study("demo")}) == 1


def test_rates_follow_the_root_of_the_batch_size():
    ratios = [config.peak_rate(1440) ** 2 / config.batch_size for config in study("demo")]
    assert max(ratios) == pytest.approx(min(ratios))


@pytest.mark.parametrize("quick", [True, False])
def test_every_run_can_be_trained_on_two_processes(quick):
    for config in study("demo", quick=quick):
        assert checked(config, 2) == config


def test_quick_runs_have_the_same_names():
    assert [c.run for c in study("demo", quick=True)] == [c.run for c in study("demo")]
