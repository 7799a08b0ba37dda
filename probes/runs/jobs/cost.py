"""What a study will cost and whom it serves, arm by arm, before anything is trained.

Time is measured, not guessed: a few microbatches of random pixels pass through each kind of
network on one core of this machine. Disk is counted from the fields that a run records.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from ultraslow.diffusion.predictions import PREDICTIONS, lacking
from ultraslow.diffusion.recording import log_spaced
from ultraslow.diffusion.scaling import RULES
from ultraslow.probes.runs.config import Config, facts_of
from ultraslow.probes.runs.images import Facts
from ultraslow.probes.runs.training import build, checkpoints_at, evaluated_at

# Backward passes that are timed, after one that is not, and the most seconds that they may take.
_TIMED, _PATIENCE = 8, 2.0
# A pass without gradients costs about a third of one with them.
_FORWARD = 1 / 3
# Of a landscape: kinds of directions and radii along each, as the probe scans them.
_KINDS, _RADII = 4, 10
# Bytes that a closed recording has beside its records; those of a record for each tensor and in
# all; of a sketch and of a scanned landscape, compressed. From shipped recordings.
_HEAD, _TENSOR, _RECORD, _SKETCH, _SCAN = 90_000, 56, 300, 4_400, 4_000


@dataclass(frozen=True)
class ArmCost:
    """What the runs of one arm at one batch size and rate cost.

    Attributes:
        arm: its name.
        batch_size: M, samples.
        rate: peak learning rate.
        iterations: updates of each run.
        runs: how many there are.
        seconds: processor time of all of them.
        bytes: their recordings on disk.
        serves: keys of predictions that a run of this kind can take part in.
    """

    arm: str
    batch_size: int
    rate: float
    iterations: int
    runs: int
    seconds: float
    bytes: float
    serves: tuple[str, ...]


def arm_costs(
    configs: Sequence[Config], arm_of: Mapping[str, str], *, processes: int
) -> list[ArmCost]:
    """Cost and use of runs, gathered by arm, batch size, rate and length, in their order.

    Arguments:
        configs: the runs, already checked.
        arm_of: name of the arm or rung by name of the run.
        processes: that train each run.
    """
    groups: dict[tuple[object, ...], list[Config]] = {}
    speeds: dict[tuple[object, ...], tuple[float, int]] = {}
    known: dict[tuple[object, ...], Facts] = {}
    rates = {}
    for config in configs:
        if config.image_set not in known:
            known[config.image_set] = facts_of(config)
        rates[config.run] = config.peak_rate(known[config.image_set].train_size)
        what = (arm_of.get(config.run, ""), config.batch_size, rates[config.run])
        groups.setdefault((*what, config.iterations), []).append(config)
    found = []
    for (arm, *_), runs in groups.items():
        one = runs[0]
        there = known[one.image_set]
        kind = (one.model, one.width, one.shortcut, one.ghost_size, _part(one, processes))
        if kind not in speeds:
            speeds[kind] = _speed(one, there, _part(one, processes))
        seconds, tensors = speeds[kind]
        found.append(
            ArmCost(
                arm=str(arm),
                batch_size=one.batch_size,
                rate=rates[one.run],
                iterations=one.iterations,
                runs=len(runs),
                seconds=len(runs) * seconds * _images(one, there),
                bytes=float(len(runs) * size_on_disk(one, tensors)),
                serves=served(one),
            )
        )
    return found


def served(config: Config) -> tuple[str, ...]:
    """Keys of the predictions that a run of such settings can take part in.

    It records what they need, under a rule that they are about, for as many updates and at a
    constant rate where they ask for that. Whether there are seeds and other arms enough is for the
    study to see to.

    >>> served(Config(decay="cosine", landscape_checkpoints=6, evaluations=12))
    ('P3', 'P4', 'H-a', 'H-c')
    >>> "P8" in served(Config(trajectory=True, iterations=2000))
    False
    """
    fields = {"iteration", "distance_sq", "learning_rate", "learning_rate_sum", "noise_trace"}
    fields |= {"batch_size", "data_size", "seed", "scaling"}
    fields |= {"held_out"} if config.evaluations else set()
    fields |= {"step_sq"} if config.path_length else set()
    fields |= {"sketch"} if config.trajectory else set()
    fields |= {"loss_difference", "line_loss"} if config.landscape_checkpoints else set()
    at_base = config.batch_size == (config.base_batch_size or config.batch_size)
    rules = RULES if at_base else (config.scaling,)
    able = {key for rule in rules for key, absent in lacking(fields, rule).items() if not absent}
    steady = config.decay == "constant"
    able = {key for key in able if config.iterations >= PREDICTIONS[key].iterations}
    return tuple(key for key in PREDICTIONS if key in able and (steady or key in _ANY_RATE))


# Predictions about held-out scores or the landscape alone; all others are about a constant rate.
_ANY_RATE = ("P3", "P4", "H-a", "H-c")


def size_on_disk(config: Config, tensors: int) -> int:
    """About how many bytes the closed recording of a run has.

    Arguments:
        config: the run.
        tensors: trained tensors of its network.
    """
    records = len(log_spaced(config.iterations))
    scans = config.landscape_checkpoints * config.landscape_directions
    per_record = _TENSOR * tensors + _RECORD + _SKETCH * config.trajectory
    return _HEAD + records * per_record + _SCAN * scans


def _part(config: Config, processes: int) -> int:
    """Images in one backward pass of a process."""
    return config.batch_size // (processes * config.microbatches(processes))


def _images(config: Config, known: Facts) -> float:
    """Images that a run takes through the network, passes without gradients counted by cost."""
    trained = config.iterations * config.batch_size
    evaluated = 1
    if config.evaluations:
        evaluated = len(evaluated_at(config.iterations, config.evaluations))
    scans = 0
    if config.landscape_checkpoints:
        scans = len(checkpoints_at(config.iterations, config.landscape_checkpoints))
    directions = _KINDS * config.landscape_directions * _RADII
    passes = evaluated * known.test_size + scans * directions * config.landscape_images
    return trained + _FORWARD * passes


def _speed(config: Config, known: Facts, part: int) -> tuple[float, int]:
    """Processor seconds that an image costs in a backward pass, and the network's tensors."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # several spin while they wait, and all of them would be counted
    try:
        return _timed(config, known, part)
    finally:
        torch.set_num_threads(threads)


def _timed(config: Config, known: Facts, part: int) -> tuple[float, int]:
    with torch.random.fork_rng(devices=[]):
        model = build(config, known).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        inputs = torch.randn(part, known.channels, known.height, known.width)
        targets = torch.randint(known.classes, (part,))
        _pass(model, inputs, targets)
        until, times = time.monotonic() + _PATIENCE, list[float]()
        while len(times) < _TIMED and (not times or time.monotonic() < until):
            begun = time.process_time()
            _pass(model, inputs, targets)
            times.append(time.process_time() - begun)
    # The least: others on the machine can only lengthen it.
    return min(times) / part, len(list(model.parameters()))


def _pass(model: nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> None:
    nn.functional.cross_entropy(model(inputs), targets).backward()
