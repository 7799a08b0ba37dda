"""The study that `ultraslow demo` trains: small enough for two cores and two minutes."""

from dataclasses import replace

from .config import Config
from .recipe import find, read

_QUICK_ITERATIONS = 20


def study(folder: str, *, quick: bool = False) -> list[Config]:
    """The runs of the recipe `demo`: batch sizes up to the full training set, with several seeds.

    Arguments:
        folder: where the recordings go.
        quick: few iterations, to try the path rather than the predictions. The names stay the
            same.
    """
    runs = read(find("demo"), overrides={"folder": folder}).runs
    return [replace(run, iterations=_QUICK_ITERATIONS) if quick else run for run in runs]
