import re
from dataclasses import replace

import pytest

from ultraslow.probes.runs.config import Config, ConfigError, checked, from_mapping, read_config


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


def test_the_home_folder_is_expanded_and_near_misses_are_told(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "run.toml").write_text('folder = "~/runs"\ndata_folder = "~/images"\n')
    config = from_mapping(read_config("~/run.toml"))
    assert (config.folder, config.data_folder) == (f"{tmp_path}/runs", f"{tmp_path}/images")
    with pytest.raises(ConfigError, match=r"batchsize: unknown key, .* \(batch_size\?\)"):
        from_mapping({"batchsize": 3})


def test_whole_numbers_are_accepted_where_numbers_are_expected():
    assert isinstance(from_mapping({"clip": 5}).clip, float)


def test_toml(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('model = "resnet20"\nbatch_size = 48\n')
    assert from_mapping(read_config(path)) == Config(model="resnet20", batch_size=48)
    path.write_text("batch_size 48")
    with pytest.raises(ConfigError, match="run.toml: not a TOML file"):
        read_config(path)


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
        ({"data": "cifar10"}, "data_folder: found none, expected the folder of the files of cif"),
        ({"model": "wrn17-4"}, "model: found 'wrn17-4'"),
        ({"model": "nowhere.at_all:net"}, "model: found 'nowhere.at_all:net', expected a module"),
        ({"model": "wrn16-4", "width": 3}, "width, shortcut: found 3, '' with model 'wrn16-4'"),
        ({"ghost_size": 30}, "ghost_size: found 30, expected a divisor of 80 images"),
        (
            {"microbatch": 20, "ghost_size": 40},
            "ghost_size: found 40, expected a divisor of 20 images",
        ),
        ({"decay": "step", "milestones": "0.9,0.1"}, "milestones: found '0.9,0.1', expected incr"),
        ({"adapt_epochs": True}, "adapt_epochs: found true with epochs 0"),
        ({"optimizer": "nesterov", "momentum": 0.0}, "momentum: found 0 with optimizer nesterov"),
        ({"optimizer": "sgdm"}, "optimizer: found 'sgdm', expected one of 'sgd', 'nesterov'"),
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
        checked(replace(Config(), **changes), 2)


def test_all_faults_are_listed():
    config = Config(batch_size=0, iterations=0, momentum=2.0)
    with pytest.raises(ConfigError) as caught:
        checked(config, 2)
    assert len(caught.value.faults) == 3


@pytest.mark.parametrize("processes", [1, 2, 3, 4])
def test_full_batch_is_accepted(processes):
    config = Config(batch_size=1440, microbatch=60)
    assert checked(config, processes) == config


def test_length_in_epochs_becomes_iterations():
    assert checked(Config(epochs=2, batch_size=480), 2).iterations == 6


def test_files_of_the_image_set_are_looked_for(tmp_path):
    config = Config(data="fashion-mnist", data_folder=str(tmp_path))
    with pytest.raises(ConfigError, match="data_folder: found no train-images-idx3-ubyte"):
        checked(config, 2)
