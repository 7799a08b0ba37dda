import re
from dataclasses import replace

import pytest

from probes.runs.config import Config, ConfigError, check, from_mapping, read


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"batch_size": 2000},
            "batch_size: found 2000, expected at most the 1440 training images",
        ),
        ({"batch_size": 0}, "batch_size: found 0, expected 1 or more"),
        ({"batch_size": 81}, "batch_size: found 81, expected a multiple of the 2 processes"),
        (
            {"batch_size": 160, "microbatch": 30},
            "batch_size: found 160, expected a multiple of processes × microbatch = 2 × 30 = 60",
        ),
        ({"samples": 1441}, "samples: found 1441, expected at most 1440"),
        ({"samples": 100}, "batch_size: found 160, expected at most the 100 training images"),
        ({"iterations": 0}, "iterations: found 0, expected 1 or more"),
        ({"model": "resnet9"}, "model: found 'resnet9', expected resnet18"),
        ({"shortcut": "none"}, "shortcut: found 'none', expected one of '', 'padding'"),
        ({"scaling": "cubic"}, "scaling: found 'cubic', expected one of 'fixed', 'sqrt'"),
        ({"data": "mnist"}, "data: found 'mnist', expected one of 'digits'"),
        ({"momentum": 1.0}, "momentum: found 1.0, expected a number from 0 up to below 1"),
        ({"weight_decay": -1.0}, "weight_decay: found -1.0, expected 0 or more"),
        ({"base_learning_rate": 0.0}, "base_learning_rate: found 0.0, expected a number above 0"),
        ({"base_learning_rate": float("nan")}, "base_learning_rate: found nan"),
        ({"name": "a/b"}, "name: found 'a/b', expected a file name without folders"),
        (
            {"batch_size": 1440, "scaling": "exact_sqrt"},
            "batch_size: found 1440, expected less than the 1440 training images",
        ),
    ],
)
def test_every_fault_names_key_found_and_expected(changes, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        check(replace(Config(), **changes), 2)


def test_all_faults_are_listed():
    config = Config(batch_size=0, iterations=0, momentum=2.0)
    with pytest.raises(ConfigError) as caught:
        check(config, 2)
    assert len(caught.value.faults) == 3


@pytest.mark.parametrize("processes", [1, 2, 3, 4])
def test_full_batch_is_accepted(processes):
    check(Config(batch_size=1440, microbatch=60), processes)


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
    assert config.learning_rate(1440) == pytest.approx(0.1 * factor)


def test_without_a_base_batch_size_every_rule_is_the_base_rate():
    for scaling in ("fixed", "sqrt", "linear", "exact_sqrt"):
        config = Config(scaling=scaling, base_learning_rate=0.3)
        assert config.learning_rate(1440) == pytest.approx(0.3), scaling


def test_microbatches_add_up_to_the_batch():
    config = Config(batch_size=1440, microbatch=80)
    assert config.microbatches(2) * 2 * 80 == 1440
    assert Config(batch_size=1440).microbatches(2) == 1
