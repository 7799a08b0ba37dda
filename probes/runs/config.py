"""What a reference run is: every setting, its type, its meaning, and what makes it impossible.

What makes the settings of a run impossible, found before anything starts.
"""

import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ultraslow.diffusion.recording import nearest
from ultraslow.diffusion.scaling import RULES, Rule, scaled_learning_rate
from ultraslow.probes.runs.images import NAMES, Facts, facts
from ultraslow.probes.runs.models import SHORTCUTS, check_model

from .schedules import (
    adapted_epochs,
    cosine_decay,
    iterations_of,
    milestones_of,
    polynomial_decay,
    step_decay,
    warm_up,
)

OPTIMIZERS = ("sgd", "nesterov", "adam", "adamw", "adagrad", "rmsprop", "lars", "lamb")
_FOLDERS = ("folder", "data_folder")
# Settings that say where a run is trained and not what it is.
PLACES = (*_FOLDERS, "device", "workers")
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
    resize: int = _setting(
        0, "reduce the images in memory to so many pixels a side; 0: as they are"
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
    def image_set(self) -> tuple[str, str, int, int]:
        """What runs on the same images share: set, folder, and the sizes asked for."""
        return self.data, self.data_folder, self.image_size, self.resize

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
        rate = scaled_learning_rate(
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
        f"{key}: unknown key, expected one of {', '.join(known)}{nearest(key, known)}"
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
    given = {key: known[key](value) for key, value in settings.items()}
    given |= {key: os.path.expanduser(given[key]) for key in _FOLDERS if key in given}
    return Config(**given)


def read_config(path: str | Path) -> dict[str, Any]:
    """The settings in a TOML file.

    Raises:
        ConfigError: when the file is no TOML.
    """
    try:
        text = Path(os.path.expanduser(path)).read_text(encoding="utf-8")
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


_AT_LEAST_0 = (
    "samples",
    "image_size",
    "resize",
    "workers",
    "width",
    "microbatch",
    "ghost_size",
    "base_batch_size",
    "warm_up",
    "evaluations",
    "landscape_checkpoints",
    "seed",
    "processes",
)
_FINITE_AT_LEAST_0 = ("epochs", "weight_decay", "gradient_noise", "clip", "decay_power")


# Seeds are recorded as 64-bit integers.
_SEEDS = 2**63


def checked(config: Config, processes: int, *, known: Facts | None = None) -> Config:
    """The run as it will be trained; refuses settings that cannot be, before anything starts.

    Arguments:
        config: the settings.
        processes: how many processes will train.
        known: of the image set; looked up when None.

    Returns:
        The settings, with the length in iterations where it was given in epochs.

    Raises:
        ConfigError: with every fault.
    """
    refuse_values(config, processes)
    try:
        known = known or facts_of(config)
    except (ValueError, OSError) as error:
        raise ConfigError(config.run, [str(error)]) from error
    faults = [*_data_faults(config, known), *_network_faults(config), *_regime_faults(config)]
    if faults:
        raise ConfigError(config.run, faults)
    return config.resolved(known.train_size)


def facts_of(config: Config) -> Facts:
    """What is known of a run's images; see `facts`."""
    return facts(
        config.data, config.data_folder, image_size=config.image_size, resize=config.resize
    )


def refuse_values(config: Config, processes: int) -> None:
    """Refuse values that no image set makes possible.

    Arguments:
        config: the settings.
        processes: how many processes will train.

    Raises:
        ConfigError: with every fault.
    """
    faults = [*_choice_faults(config), *_range_faults(config)]
    if not faults:  # sizes are only compared where each is sensible by itself
        faults = [*_division_faults(config, processes), *_place_faults(config)]
    if faults:
        raise ConfigError(config.run, faults)


def _choice_faults(config: Config) -> Iterator[str]:
    for setting in fields(Config):
        found, choices = getattr(config, setting.name), setting.metadata["choices"]
        if choices and found not in choices:
            listed = ", ".join(map(repr, choices))
            yield f"{setting.name}: found {found!r}, expected one of {listed}"
    if config.name and Path(config.name).name != config.name:
        yield f"name: found {config.name!r}, expected a file name without folders"


def _range_faults(config: Config) -> Iterator[str]:
    for name in ("batch_size", "iterations", "landscape_directions"):
        if getattr(config, name) < 1:
            yield f"{name}: found {getattr(config, name)}, expected 1 or more"
    for name in _AT_LEAST_0:
        if getattr(config, name) < 0:
            yield f"{name}: found {getattr(config, name)}, expected 0 or more"
    if not 0 < config.base_learning_rate < float("inf"):
        yield f"base_learning_rate: found {config.base_learning_rate}, expected a number above 0"
    for name in _FINITE_AT_LEAST_0:
        if not 0 <= getattr(config, name) < float("inf"):
            yield f"{name}: found {getattr(config, name)}, expected 0 or more"
    if not 0 < config.decay_factor < float("inf"):
        yield f"decay_factor: found {config.decay_factor}, expected a number above 0"
    if config.seed >= _SEEDS:
        yield f"seed: found {config.seed}, expected less than 2^63"
    for name in ("momentum", "label_smoothing"):
        if not 0 <= getattr(config, name) < 1:
            yield f"{name}: found {getattr(config, name)}, expected a number from 0 up to below 1"


def _place_faults(config: Config) -> Iterator[str]:
    if config.image_size and config.data != "folder":
        yield (
            f"image_size: found {config.image_size} with data {config.data!r}, expected it with"
            " data folder only"
        )
    if config.image_size and config.resize:
        yield (
            f"resize: found {config.resize} with image_size {config.image_size}, expected one of"
            " the two: images are reduced in memory, or cropped while they are read"
        )


def _division_faults(config: Config, processes: int) -> Iterator[str]:
    batch, micro = config.batch_size, config.microbatch
    if micro and batch % (processes * micro):
        yield (
            f"batch_size: found {batch}, expected a multiple of processes × microbatch"
            f" = {processes} × {micro} = {processes * micro}"
        )
    share = micro or batch // processes
    if config.ghost_size and share % config.ghost_size:
        yield f"ghost_size: found {config.ghost_size}, expected a divisor of {share} images"
    if batch % processes:
        yield f"batch_size: found {batch}, expected a multiple of the {processes} processes"
    # Two batches a process, of two images at least.
    images, least = config.landscape_images, 4 * processes
    if config.landscape_checkpoints and images < least:
        yield (
            f"landscape_images: found {images}, expected {least} or more for {processes} processes"
        )


def _data_faults(config: Config, known: Facts) -> Iterator[str]:
    batch, size = config.batch_size, config.train_size(known.train_size)
    if config.samples > known.train_size:
        yield f"samples: found {config.samples}, expected at most {known.train_size}"
    if batch > size:
        yield f"batch_size: found {batch}, expected at most the {size} training images"
    if config.scaling == "exact_sqrt" and max(batch, config.base_batch_size) >= size:
        yield (
            f"batch_size: found {batch}, expected less than the {size} training images:"
            " scaling = exact_sqrt has no learning rate at the full batch"
        )


def _network_faults(config: Config) -> Iterator[str]:
    try:
        check_model(config.model, width=config.width, shortcut=config.shortcut)
    except ValueError as error:
        yield str(error)


def _regime_faults(config: Config) -> Iterator[str]:
    if config.warm_up > config.iterations and not config.epochs:
        yield f"warm_up: found {config.warm_up}, expected at most iterations = {config.iterations}"
    if config.decay == "step":
        try:
            milestones_of(config.milestones, config.iterations)
        except ValueError as error:
            yield str(error)
    if config.adapt_epochs and not config.epochs:
        yield "adapt_epochs: found true with epochs 0, expected a number of epochs to adapt"
    if config.optimizer == "nesterov" and not config.momentum:
        yield "momentum: found 0 with optimizer nesterov, expected a number above 0"
    if config.optimizer in ("lars", "lamb") and find_spec("pytorch_optimizer") is None:
        yield (
            f"optimizer: found {config.optimizer!r}, which comes with the package"
            " pytorch-optimizer, expected it to be installed"
        )
