"""What makes the settings of a run impossible, found before anything starts."""

from collections.abc import Iterator
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path

from .architectures import check_model
from .config import Config, ConfigError
from .datasets import Facts, facts
from .regimes import milestones_of

_AT_LEAST_0 = (
    "samples",
    "image_size",
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
        known = known or facts(config.data, config.data_folder, image_size=config.image_size)
    except (ValueError, OSError) as error:
        raise ConfigError(config.run, [str(error)]) from error
    faults = [*_data_faults(config, known), *_network_faults(config), *_regime_faults(config)]
    if faults:
        raise ConfigError(config.run, faults)
    return config.resolved(known.train_size)


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
