import re
from dataclasses import replace

import pytest

from probes.runs.checks import checked
from probes.runs.config import Config, ConfigError


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
