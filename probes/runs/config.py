"""What a reference run is: every setting, its type, its meaning, and what makes it impossible."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from diffusion.scaling import RULES, Rule, learning_rate

from .architectures import SHORTCUTS
from .datasets import NAMES
from .regimes import (
    adapted_epochs,
    cosine_decay,
    iterations_of,
    milestones_of,
    polynomial_decay,
    step_decay,
    warm_up,
)

OPTIMIZERS = ("sgd", "nesterov", "adam", "adamw", "adagrad", "rmsprop", "lars", "lamb")
# Settings that say where a run is trained and not what it is.
PLACES = ("folder", "data_folder", "device", "workers")
DECAYS = ("constant", "step", "polynomial", "cosine")


class ConfigError(ValueError):
    """Settings that cannot be run, with every fault that was found.

    Attributes:
        faults: one sentence a fault: key, what was found, what was expected.
    """

    def __init__(self, source: str, faults: list[str]) -> None:
        self.faults = tuple(faults)
        super().__init__(f"{source}: " + "; ".join(faults))


def _setting(default: Any, meaning: str, *choices: str) -> Any:
    return field(default=default, metadata={"meaning": meaning, "choices": choices})


@dataclass(frozen=True)
class Config:
    """The settings of one run. Numbers of 0 and empty texts mean "the usual one"."""

    folder: str = _setting("runs", "folder of the recordings")
    name: str = _setting("", "name of the run and its recording; made from the settings if empty")
    data: str = _setting("digits", "image set", *NAMES)
    data_folder: str = _setting("", "folder of the image set's files; the digits need none")
    samples: int = _setting(0, "train on the first so many images of the set only; 0: on all")
    image_size: int = _setting(
        0,
        "read the images of a folder while training and crop them to so many pixels a side; 0:"
        " they all have one size and live in memory",
    )
    workers: int = _setting(4, "processes that read images, for each that trains; see image_size")
    augment: bool = _setting(
        True,
        "shift images at random, or crop them with image_size, and mirror them where it suits",
    )
    model: str = _setting(
        "resnet8", "network: resnet and depth, wrnDEPTH-WIDENING or MODULE:FACTORY"
    )
    width: int = _setting(0, "channels of the first stage; 0: those of the paper")
    shortcut: str = _setting(
        "", "shortcut where a block changes shape; empty: the paper's", "", *SHORTCUTS
    )
    batch_size: int = _setting(160, "samples in an update, M")
    microbatch: int = _setting(
        0, "samples in one backward pass, also those that share batch statistics; 0: M / processes"
    )
    ghost_size: int = _setting(
        0, "samples in a ghost batch of batch normalization; 0: a microbatch"
    )
    iterations: int = _setting(400, "updates to make")
    epochs: float = _setting(0.0, "passes over the training set to make; 0: count iterations")
    adapt_epochs: bool = _setting(
        False, "regime adaptation: as many updates as the epochs have at the base batch size"
    )
    optimizer: str = _setting("sgd", "optimizer", *OPTIMIZERS)
    base_learning_rate: float = _setting(0.05, "learning rate at the base batch size")
    base_batch_size: int = _setting(0, "batch size at which the base rate holds; 0: M itself")
    scaling: Rule = _setting("sqrt", "rule from batch size to learning rate", *RULES)
    warm_up: int = _setting(0, "iterations over which the rate rises linearly from 0")
    decay: str = _setting("constant", "how the rate falls over the run", *DECAYS)
    milestones: str = _setting("0.5,0.75", "fractions of the run at which a step decay steps")
    decay_factor: float = _setting(0.1, "what a step decay multiplies the rate by")
    decay_power: float = _setting(2.0, "power of a polynomial decay")
    momentum: float = _setting(0.9, "momentum coefficient")
    weight_decay: float = _setting(0.0, "weight decay coefficient")
    decay_vectors: bool = _setting(True, "decay biases and normalization as well")
    reset_momentum: bool = _setting(False, "forget momentum at each epoch, as in Hoffer's code")
    gradient_noise: float = _setting(
        0.0, "standard deviation of normal noise added to each gradient component"
    )
    clip: float = _setting(0.0, "clip the gradient to this norm; 0: never")
    label_smoothing: float = _setting(0.0, "weight of the uniform distribution in the targets")
    evaluations: int = _setting(
        12, "evaluations on the held-out images, even in ln t; 0: at the end only, not recorded"
    )
    landscape_checkpoints: int = _setting(
        0, "checkpoints at which the loss around the weights is measured, even in ln t; 0: none"
    )
    landscape_images: int = _setting(256, "training images that the landscape is measured on")
    landscape_directions: int = _setting(6, "directions of each kind in the landscape")
    path_length: bool = _setting(True, "record the length of the path that the weights take")
    trajectory: bool = _setting(
        True, "record a sketch of the weights, for distances between times"
    )
    seed: int = _setting(0, "seed of initial weights, batches and augmentation")
    processes: int = _setting(0, "processes to train on; 0: one a GPU, or 2 without any")
    device: str = _setting("auto", "where to train", "auto", "cpu", "cuda")
    precision: str = _setting("fp32", "arithmetic of the network", "fp32", "bf16")

    @property
    def run(self) -> str:
        """The run's name: the given one, or the settings that tell runs of a study apart."""
        model = self.model.replace(":", ".")
        made = f"{model}-{self.data_name}-{self.scaling}-b{self.batch_size}-s{self.seed}"
        return self.name or made

    @property
    def data_name(self) -> str:
        """The image set's name; that of its folder where it is a folder of images."""
        return Path(self.data_folder).resolve().name if self.data == "folder" else self.data

    @property
    def path(self) -> Path:
        """Where the recording goes, without its ending."""
        return Path(self.folder) / self.run

    def microbatches(self, processes: int) -> int:
        """Backward passes of one process in an update."""
        return self.batch_size // (processes * self.microbatch) if self.microbatch else 1

    def statistics_size(self, processes: int) -> int:
        """Images from which one set of batch statistics is taken."""
        return self.ghost_size or self.batch_size // (processes * self.microbatches(processes))

    def train_size(self, available: int) -> int:
        """Images that are trained on, D, of those that the set has."""
        return self.samples or available

    def resolved(self, available: int) -> "Config":
        """The same run with its length in iterations where it was given in epochs."""
        if not self.epochs:
            return self
        base = self.base_batch_size or self.batch_size
        epochs = self.epochs
        if self.adapt_epochs:
            epochs = adapted_epochs(epochs, batch_size=self.batch_size, base_batch_size=base)
        size = self.train_size(available)
        iterations = iterations_of(epochs, data_size=size, batch_size=self.batch_size)
        return replace(self, iterations=iterations)

    def rate(self, iteration: int, peak: float) -> float:
        """The learning rate of an update: warm-up times decay times the peak rate."""
        return peak * warm_up(iteration, self.warm_up) * self._decay(iteration)

    def _decay(self, iteration: int) -> float:
        last = self.iterations
        match self.decay:
            case "step":
                return step_decay(
                    iteration, milestones_of(self.milestones, last), self.decay_factor
                )
            case "polynomial":
                return polynomial_decay(iteration, last, self.decay_power)
            case "cosine":
                return cosine_decay(iteration, last)
        return 1.0

    def peak_rate(self, available: int) -> float:
        """The learning rate that the scaling rule gives this batch size.

        Arguments:
            available: training images of the set.
        """
        rate = learning_rate(
            self.scaling,
            self.base_learning_rate,
            batch_size=self.batch_size,
            base_batch_size=self.base_batch_size or self.batch_size,
            data_size=self.train_size(available),
        )
        return float(rate)


def from_mapping(settings: Mapping[str, Any], source: str = "settings") -> Config:
    """A configuration from names and values, as a file or a command line gives them.

    Arguments:
        settings: from the names of `Config`'s fields to their values.
        source: the file or command to name in the message.

    Raises:
        ConfigError: for names that `Config` does not have and values of another type.

    >>> from_mapping({"batch_size": 48}).run
    'resnet8-digits-sqrt-b48-s0'
    """
    known: dict[str, type] = {f.name: type(f.default) for f in fields(Config)}
    faults = [
        f"{key}: unknown key, expected one of {', '.join(known)}"
        for key in settings
        if key not in known
    ]
    faults += [
        f"{key}: found {value!r}, expected a value of type {known[key].__name__}"
        for key, value in settings.items()
        if key in known and not _is_a(value, known[key])
    ]
    if faults:
        raise ConfigError(source, faults)
    return Config(**{key: known[key](value) for key, value in settings.items()})


def read(path: str | Path) -> dict[str, Any]:
    """The settings in a TOML file.

    Raises:
        ConfigError: when the file is no TOML.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(str(path), [f"not a TOML file: {error}"]) from error
    return parsed(text, str(path))


def parsed(text: str, source: str) -> dict[str, Any]:
    """The tables of a TOML text.

    Raises:
        ConfigError: when it is no TOML, naming its source.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(source, [f"not a TOML file: {error}"]) from error


def _is_a(value: Any, kind: type) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is kind
