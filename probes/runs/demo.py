"""The study that `ultraslow demo` trains: small enough for two cores and two minutes."""

from dataclasses import replace
from itertools import product

from .config import Config

# All batch sizes have the same microbatch, so their batch statistics and noise units agree.
_MICROBATCH = 80
# 1,440 is the whole training set.
_BATCH_SIZES = (160, 480, 1440)
_SEEDS = (0, 1)
# The rate of the smallest batch. Thrice as much at the full batch still trains smoothly, and the
# higher the rates, the earlier the growth that laws are fitted to sets in.
_BASE_LEARNING_RATE = 0.2
_ITERATIONS = 300
_QUICK_ITERATIONS = 20


def study(folder: str, *, quick: bool = False) -> list[Config]:
    """The runs of the demo: batch sizes up to the full training set, each with several seeds.

    Arguments:
        folder: where the recordings go.
        quick: few iterations, to try the path rather than the predictions. The names stay the
            same.
    """
    common = Config(
        folder=folder,
        data="digits",
        model="resnet8",
        width=8,
        microbatch=_MICROBATCH,
        iterations=_QUICK_ITERATIONS if quick else _ITERATIONS,
        base_learning_rate=_BASE_LEARNING_RATE,
        base_batch_size=min(_BATCH_SIZES),
        scaling="sqrt",
    )
    return [
        replace(common, batch_size=batch_size, seed=seed)
        for seed, batch_size in product(_SEEDS, _BATCH_SIZES)
    ]
