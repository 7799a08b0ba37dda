"""What a reference run is: every setting, its type, its meaning, and what makes it impossible."""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from diffusion.scaling import RULES, Rule, learning_rate

from .architectures import SHORTCUTS, architecture
from .datasets import NAMES, Facts, facts


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
    samples: int = _setting(0, "train on the first so many images of the set only; 0: on all")
    augment: bool = _setting(True, "shift (and mirror, where the set allows it) images at random")
    model: str = _setting("resnet8", "network: resnet followed by its depth")
    width: int = _setting(0, "channels of the first stage; 0: those of the paper")
    shortcut: str = _setting(
        "", "shortcut where a block changes shape; empty: the paper's", "", *SHORTCUTS
    )
    batch_size: int = _setting(160, "samples in an update, M")
    microbatch: int = _setting(
        0, "samples in one backward pass, also those that share batch statistics; 0: M / processes"
    )
    iterations: int = _setting(400, "updates to make")
    base_learning_rate: float = _setting(0.05, "learning rate at the base batch size")
    base_batch_size: int = _setting(0, "batch size at which the base rate holds; 0: M itself")
    scaling: Rule = _setting("sqrt", "rule from batch size to learning rate", *RULES)
    momentum: float = _setting(0.9, "momentum coefficient")
    weight_decay: float = _setting(0.0, "weight decay coefficient")
    clip: float = _setting(0.0, "clip the gradient to this norm; 0: never")
    label_smoothing: float = _setting(0.0, "weight of the uniform distribution in the targets")
    seed: int = _setting(0, "seed of initial weights, batches and augmentation")
    processes: int = _setting(0, "processes to train on; 0: one a GPU, or 2 without any")
    device: str = _setting("auto", "where to train", "auto", "cpu", "cuda")
    precision: str = _setting("fp32", "arithmetic of the network", "fp32", "bf16")

    @property
    def run(self) -> str:
        """The run's name: the given one, or the settings that tell runs of a study apart."""
        made = f"{self.model}-{self.data}-{self.scaling}-b{self.batch_size}-s{self.seed}"
        return self.name or made

    @property
    def path(self) -> Path:
        """Where the recording goes, without its ending."""
        return Path(self.folder) / self.run

    def microbatches(self, processes: int) -> int:
        """Backward passes of one process in an update."""
        return self.batch_size // (processes * self.microbatch) if self.microbatch else 1

    def learning_rate(self, train_size: int) -> float:
        """The learning rate that the scaling rule gives this batch size."""
        rate = learning_rate(
            self.scaling,
            self.base_learning_rate,
            batch_size=self.batch_size,
            base_batch_size=self.base_batch_size or self.batch_size,
            data_size=self.samples or train_size,
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
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), [f"not a TOML file: {error}"]) from error


def check(config: Config, processes: int) -> None:
    """Refuse settings that cannot be trained, before anything starts.

    Arguments:
        config: the settings.
        processes: how many processes will train.

    Raises:
        ConfigError: with every fault.
    """
    faults = [*_choice_faults(config), *_range_faults(config)]
    if not faults:  # sizes are only compared where each is sensible by itself
        known = facts(config.data)
        faults = [*_batch_faults(config, config.samples or known.train_size, processes)]
        faults += _fit_faults(config, known)
    if faults:
        raise ConfigError(config.run, faults)


def _is_a(value: Any, kind: type) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is kind


def _choice_faults(config: Config) -> Iterator[str]:
    for setting in fields(Config):
        found, choices = getattr(config, setting.name), setting.metadata["choices"]
        if choices and found not in choices:
            listed = ", ".join(map(repr, choices))
            yield f"{setting.name}: found {found!r}, expected one of {listed}"
    if config.name and Path(config.name).name != config.name:
        yield f"name: found {config.name!r}, expected a file name without folders"


def _range_faults(config: Config) -> Iterator[str]:
    for name in ("batch_size", "iterations"):
        if getattr(config, name) < 1:
            yield f"{name}: found {getattr(config, name)}, expected 1 or more"
    for name in ("samples", "width", "microbatch", "base_batch_size", "seed", "processes"):
        if getattr(config, name) < 0:
            yield f"{name}: found {getattr(config, name)}, expected 0 or more"
    if not 0 < config.base_learning_rate < float("inf"):
        yield f"base_learning_rate: found {config.base_learning_rate}, expected a number above 0"
    for name in ("weight_decay", "clip"):
        if not 0 <= getattr(config, name) < float("inf"):
            yield f"{name}: found {getattr(config, name)}, expected 0 or more"
    for name in ("momentum", "label_smoothing"):
        if not 0 <= getattr(config, name) < 1:
            yield f"{name}: found {getattr(config, name)}, expected a number from 0 up to below 1"


def _batch_faults(config: Config, train_size: int, processes: int) -> Iterator[str]:
    batch, micro = config.batch_size, config.microbatch
    if batch > train_size:
        yield f"batch_size: found {batch}, expected at most the {train_size} training images"
    if micro and batch % (processes * micro):
        yield (
            f"batch_size: found {batch}, expected a multiple of processes × microbatch"
            f" = {processes} × {micro} = {processes * micro}"
        )
    if batch % processes:
        yield f"batch_size: found {batch}, expected a multiple of the {processes} processes"
    if config.scaling == "exact_sqrt" and max(batch, config.base_batch_size) >= train_size:
        yield (
            f"batch_size: found {batch}, expected less than the {train_size} training images:"
            " scaling = exact_sqrt has no learning rate at the full batch"
        )


def _fit_faults(config: Config, known: Facts) -> Iterator[str]:
    if config.samples > known.train_size:
        yield f"samples: found {config.samples}, expected at most {known.train_size}"
    try:
        architecture(config.model, width=config.width, shortcut=config.shortcut)
    except ValueError as error:
        yield str(error)
