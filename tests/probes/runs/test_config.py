import re

import pytest

from probes.runs.config import Config, ConfigError, from_mapping, read


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batchsize": 3}, "batchsize: unknown key, expected one of folder, name, data"),
        ({"batch_size": "3"}, "batch_size: found '3', expected a value of type int"),
        ({"batch_size": 3.0}, "batch_size: found 3.0, expected a value of type int"),
        ({"batch_size": True}, "batch_size: found True, expected a value of type int"),
        ({"augment": 1}, "augment: found 1, expected a value of type bool"),
    ],
)
def test_settings_from_outside_are_checked(settings, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        from_mapping(settings, "run.toml")


def test_whole_numbers_are_accepted_where_numbers_are_expected():
    assert isinstance(from_mapping({"clip": 5}).clip, float)


def test_toml(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('model = "resnet20"\nbatch_size = 48\n')
    assert from_mapping(read(path)) == Config(model="resnet20", batch_size=48)
    path.write_text("batch_size 48")
    with pytest.raises(ConfigError, match="run.toml: not a TOML file"):
        read(path)


@pytest.mark.parametrize(
    ("scaling", "factor"),
    # M/M0 = 4 of D = 1440: √((1/160 − 1/1440)/(1/640 − 1/1440)) = √6.4
    [("fixed", 1.0), ("sqrt", 2.0), ("linear", 4.0), ("exact_sqrt", 6.4**0.5)],
)
def test_learning_rate_of_each_rule(scaling, factor):
    config = Config(scaling=scaling, batch_size=640, base_batch_size=160, base_learning_rate=0.1)
    assert config.peak_rate(1440) == pytest.approx(0.1 * factor)


def test_without_a_base_batch_size_every_rule_is_the_base_rate():
    for scaling in ("fixed", "sqrt", "linear", "exact_sqrt"):
        config = Config(scaling=scaling, base_learning_rate=0.3)
        assert config.peak_rate(1440) == pytest.approx(0.3), scaling


def test_microbatches_add_up_to_the_batch():
    config = Config(batch_size=1440, microbatch=80)
    assert config.microbatches(2) * 2 * 80 == 1440
    assert Config(batch_size=1440).microbatches(2) == 1


def test_length_in_epochs():
    config = Config(batch_size=480, epochs=2.5)
    assert config.resolved(1440).iterations == 8  # ⌈2.5 · 3⌉
    assert config.resolved(1440).resolved(1440) == config.resolved(1440)
    assert Config(iterations=7).resolved(1440).iterations == 7


def test_regime_adaptation_makes_as_many_updates_at_every_batch_size():
    for batch_size in (60, 120, 480, 1440):
        config = Config(batch_size=batch_size, base_batch_size=60, epochs=3, adapt_epochs=True)
        assert config.resolved(1440).iterations == 3 * 1440 // 60, batch_size


def test_rate_over_a_run():
    config = Config(iterations=100, warm_up=10, decay="step", milestones="0.5", decay_factor=0.1)
    rates = [config.rate(t, 2.0) for t in (1, 10, 50, 51, 100)]
    assert rates == pytest.approx([0.2, 2.0, 2.0, 0.2, 0.2])
    assert Config().rate(123, 0.5) == 0.5


def test_runs_are_named_by_what_tells_them_apart(tmp_path):
    config = Config(data="folder", data_folder=str(tmp_path / "flowers"), model="nets:small")
    assert config.run == "nets.small-flowers-sqrt-b160-s0"
    assert Config(name="mine", folder="here").path.as_posix() == "here/mine"
