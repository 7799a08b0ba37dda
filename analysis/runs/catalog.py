"""Recordings listed by their headings, ten thousand of them in seconds and in little memory.

What is said of a recording is what would be said of it whole: its seal is checked, and the same
faults are found. But of a sealed file as this package writes it the header is read, and the few
series that tell where the rate is constant and whether distances stay finite. Then all but the
heading is let go. Other files, and live folders, are read whole. Thousands are read by several
processes, if so asked.
"""

import multiprocessing
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any, TypeVar

import numpy as np

from ultraslow.diffusion.recording import (
    DatasetLike,
    HeaderVariable,
    RecordError,
    RemoteRecording,
    UnfamiliarError,
    check,
    sealed_header,
)

from .arms import place_of, rank
from .distinct import loss_left, total_distances
from .heading import Heading, Stretch
from .load import Outcome, Paths, Place, Unusable, attempt, gathered, read
from .readings import constant_rate, fitted_at, injected_noise, measured_until
from .where import condition

_T = TypeVar("_T", bound=Hashable)

# What the checks and the questions of a heading need of the series.
_SERIES = (
    "iteration",
    "tensor_size",
    "distance_sq",
    "weight_sq",
    "learning_rate",
    "learning_rate_sum",
    "loss",
    "noise_trace",
    "noise_left_out",
)
_KEPT = ("iteration", "tensor_size", "noise_left_out")

# Recordings above which several processes gain more than their start costs, and that one of them
# reads at a time.
_MANY, _PORTION = 1500, 50


@dataclass(frozen=True)
class Catalog:
    """Recordings by their headings.

    Attributes:
        headings: by node name, as `load` names them, in the order of `runs_of`.
        unusable: what was found and cannot be used.
        where: the condition that chose among them, as it was typed; empty without one.
        left_out: how many recordings do not meet it.
    """

    headings: dict[str, Heading]
    unusable: tuple[Unusable, ...]
    where: str = ""
    left_out: int = 0


def catalog(
    paths: Paths,
    *,
    where: str = "",
    progress: Callable[[Iterable[Place]], Iterable[Place]] = iter,
    processes: int = 1,
) -> Catalog:
    """The headings of the recordings at the given paths.

    Arguments:
        paths: where to look, as `load` takes them.
        where: which recordings to take, as `load` takes it.
        progress: wraps the recordings found while they are read.
        processes: that thousands of recordings are read by; each imports the program's main
            module, as `multiprocessing` has it.

    Raises:
        RecordError: when nothing is usable, with all faults.
        ConditionError: when the condition cannot be read, or no recording meets it.
    """
    wanted = condition(where) if where.strip() else None
    nodes, faults = gathered(paths, partial(_read_all, processes=processes), progress)
    chosen = nodes if wanted is None else {node: nodes[node] for node in wanted.chosen(nodes)}
    ordered = dict(sorted(chosen.items(), key=rank))
    text = "" if wanted is None else wanted.text
    return Catalog(ordered, tuple(faults), text, len(nodes) - len(chosen))


def _read_all(places: list[Place], *, processes: int) -> Iterator[Outcome[Heading]]:
    """The headings of recordings in their order, by several processes where there are many."""
    reader = _Reader()
    done = 0
    if processes > 1 and len(places) >= _MANY:
        portions = [places[at : at + _PORTION] for at in range(0, len(places), _PORTION)]
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(processes, mp_context=context) as pool:
            try:
                for portion in pool.map(_read_portion, portions):
                    for heading, left_out in portion:
                        done += 1
                        yield heading and reader.shared(heading), left_out
            except BrokenProcessPool:  # one was ended; what is left is read here
                pass
    for place in islice(places, done, None):
        yield attempt(reader, place)


def _read_portion(places: list[Place]) -> list[Outcome[Heading]]:
    """What one process reads at a time."""
    return list(map(partial(attempt, _Reader()), places))


class _Reader:
    """Reads headings; what many recordings share is kept once."""

    def __init__(self) -> None:
        self._same: dict[Any, Any] = {}

    def __call__(self, path: Place) -> tuple[Heading, tuple[Unusable, ...]]:
        """The heading of a recording, and the segments of it that were left out."""
        run, left_out = self._read(path)
        return self._heading(run), left_out

    def _read(self, path: Place) -> tuple[DatasetLike, tuple[Unusable, ...]]:
        if isinstance(path, RemoteRecording):
            return read(path)
        try:
            header, digest = sealed_header(path, _SERIES)
            check(header, str(path))
        except (RecordError, UnfamiliarError):
            return read(path)  # which knows why, and of runs that are closed meanwhile
        header.attrs.update(path=str(path), sha256=digest, state="closed")
        return header, ()

    def _heading(self, run: DatasetLike) -> Heading:
        stretch = constant_rate(run)
        ends = Stretch(
            stretch.iteration[[0, -1]] if stretch.iteration.size else stretch.iteration,
            stretch.rate,
            stretch.reason,
            stretch.fitted,
            stretch.lost,
        )
        return Heading(
            dict(run.sizes),
            {str(name): self._variable(str(name), run) for name in run.variables},
            self._attributes(run),
            ends,
            fitted_at(run),
            measured_until(run),
            injected_noise(run),
            place_of(run),
            total_distances(run).astype(np.float32),
            loss_left(run),
        )

    def shared(self, heading: Heading) -> Heading:
        """A heading that another process has read, with what others have as well kept once."""
        variables = {
            name: found if found.known is not None else self._once(found)
            for name, found in heading.variables.items()
        }
        return replace(heading, variables=variables, attrs=self._attributes(heading))

    def _attributes(self, run: DatasetLike) -> dict[str, Any]:
        return {
            str(name): self._once(value) if isinstance(value, str) else value
            for name, value in run.attrs.items()
        }

    def _variable(self, name: str, run: DatasetLike) -> HeaderVariable:
        found = run.variables[name]
        bare = HeaderVariable(tuple(found.dims), tuple(found.shape), found.dtype)
        if found.dims and name not in _KEPT:
            return self._once(bare)
        return HeaderVariable(bare.dims, bare.shape, bare.dtype, np.array(found.values))

    def _once(self, value: _T) -> _T:
        """The value, the same object whenever an equal one comes again."""
        return self._same.setdefault(value, value)
