"""From a folder of checkpoints to a recording.

What is to be read is prepared and told first; headers alone are read for that. Nothing is written
before all checkpoints were found to be of one model.
"""

import json
import platform
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from ultraslow.diffusion.displacement import between_all
from ultraslow.diffusion.recording import (
    RecordError,
    as_label,
    check,
    check_sizes,
    events_attributes,
    make_folder,
    pack,
    size_fault,
    to_bytes,
    whole_file,
)
from ultraslow.probes.storage import SegmentStore, name_fault

from .folders import FoundCheckpoints, find_checkpoints, read_tensors
from .products import StepProducts, Sums
from .stored import OpenFiles
from .tensors import Choice, Weights, same_names, weights_in, without_copies
from .trainer_state import Logged, read_trainer_state

_VERSIONS = ("ultraslow", "torch", "numpy", "xarray", "netCDF4")
_JOURNAL = ".checkpoints-journal"
# Root mean square of what rounding a weight adds to it, relative to it: √(1/12) of the spacing of
# numbers, divided by their mean 1.5.
_ROUNDING = {torch.bfloat16: 2**-7 / 12**0.5 / 1.5, torch.float16: 2**-10 / 12**0.5 / 1.5}
_LISTED = 4
# Two checkpoints are of two runs where tensors of so many values have smaller cosines and norms
# within this factor, and other neighbours a larger cosine.
_LARGE, _APART, _ALIKE, _TURNED = 1000, 0.1, 1.25, 0.5
_MOST = 4000  # checkpoints; the distances of all pairs have 128 MB then


@dataclass(frozen=True)
class CheckpointRequest:
    """What is asked for.

    Arguments:
        paths: folders of checkpoints, or checkpoints.
        output: the recording to write.
        batch_size: samples in an update, M; None where nobody knows.
        initial: the initial weights, where they are not among the checkpoints.
        from_first: whether distances are from the first checkpoint, whatever its step.
        steps: how to read steps off names, see `steps.steps_of`.
        updates: that one count in the names stands for.
        until: last step to take.
        choice: which tensors count.
        learning_rate: of all updates; None where it is unknown or a trainer wrote it down.
        labels: of the run, by name.
        workers: threads that read; some when None.
        overwrite: whether a recording that is there is replaced.
    """

    paths: tuple[Path, ...]
    output: Path
    batch_size: int | None = None
    initial: Path | None = None
    from_first: bool = False
    steps: str | None = None
    updates: int | None = None
    until: int | None = None
    choice: Choice = field(default_factory=Choice)
    learning_rate: float | None = None
    labels: Mapping[str, object] = field(default_factory=dict)
    workers: int | None = None
    overwrite: bool = False


@dataclass(frozen=True)
class Prepared:
    """What will be read and written.

    Arguments:
        request: what was asked for.
        found: the checkpoints.
        weights: of each.
        logged: by their trainer; None for nothing.
        store: the recording's files.
        left_out: what was left out of the trainer's log, in a sentence; empty for nothing.
    """

    request: CheckpointRequest
    found: FoundCheckpoints
    weights: tuple[Weights, ...]
    logged: Logged | None
    store: SegmentStore
    left_out: str = ""

    @property
    def iterations(self) -> list[int]:
        """Updates since the first checkpoint, whose weights count as the initial ones."""
        steps = [place.step for place in self.found.places]
        return [step - steps[0] for step in steps]

    @property
    def nbytes(self) -> int:
        """Bytes of all weights."""
        return sum(one.nbytes for weights in self.weights for one in weights.tensors.values())

    def told(self) -> Iterator[str]:
        """What will be done, in lines."""
        places, first = self.found.places, self.weights[0]
        yield f"{len(places)} checkpoints, as their names say of these steps:"
        shown = places if len(places) <= 2 * _LISTED else (*places[:_LISTED], None, places[-1])
        listed = ["…" if one is None else f"{one.path.name} → {one.step}" for one in shown]
        yield f"    {', '.join(listed)}"
        if self.found.left_out:
            yield f"    without a step, left out: {_some(self.found.left_out)}"
        if places[0].step:
            yield f"    distances are from step {places[0].step}, where the iterations begin"
        count = sum(tensor.numel for tensor in first.tensors.values())
        yield f"weights: {len(first.tensors)} tensors, {count:,} values, {', '.join(self.types())}"
        for why, names in first.left_out.items():
            yield f"    left out, {why}: {len(names)} ({_some(names)})"
        if self.logged is not None and self.logged.loss.size:
            yield "losses and learning rates: as the trainer logged them"
        if self.left_out:
            yield self.left_out
        if self.request.batch_size is None:
            trainer = self.logged.samples if self.logged is not None else None
            seen = f"; the trainer tells {trainer} on a device in a pass" if trainer else ""
            yield f"batch size: unknown, --batch-size says it{seen}"
        yield f"to read: {_in_words(self.nbytes)}; to write: {self.store.file}"

    def types(self) -> list[str]:
        """Types of the values, the most frequent first."""
        found = Counter(
            str(tensor.dtype).removeprefix("torch.")
            for weights in self.weights
            for tensor in weights.tensors.values()
        )
        return [name for name, _ in found.most_common()]

    def rounding(self) -> float:
        """What rounding of the stored values adds to a distance, relative to the norm; 0 for none.

        Both ends of a distance are rounded.
        """
        sizes = [
            (tensor.numel, _ROUNDING.get(tensor.dtype, 0.0))
            for weights in self.weights
            for tensor in weights.tensors.values()
        ]
        total = sum(size for size, _ in sizes)
        return float((2 * sum(size * one**2 for size, one in sizes) / total) ** 0.5)


def prepare(request: CheckpointRequest, files: OpenFiles) -> Prepared:
    """Read all headers and decide what to do.

    Arguments:
        request: what is asked for.
        files: that will be read.

    Raises:
        RecordError: for checkpoints that are damaged or of different models, and other input that
            cannot be used; with file, place, found and expected.
        UnclearError: when names do not say which step.
        FileExistsError: when there is a recording.
        ValueError, TypeError: for a label or another value that cannot be meant.
        OSError: when a file cannot be read.
    """
    if request.batch_size is not None:
        as_label("batch_size", request.batch_size, "--batch-size")
    labels = {name: as_label(name, value) for name, value in request.labels.items()}
    check_sizes({"batch_size": request.batch_size, **labels})
    store = SegmentStore(request.output)
    if fault := name_fault(store.folder):
        raise ValueError(f"--output: {fault}")
    if not request.overwrite and (store.file.exists() or store.folder.exists()):
        there = store.file if store.file.exists() else store.folder
        raise FileExistsError(17, "There is something of this name; use --overwrite", str(there))
    found = find_checkpoints(
        request.paths,
        initial=request.initial,
        steps=request.steps,
        updates=request.updates,
        until=request.until,
    )
    places = found.places
    if len(places) > _MOST:
        told = f"found {len(places)} checkpoints, expected at most {_MOST}: all pairs are compared"
        raise RecordError(", ".join(map(str, request.paths)), [told])
    if places[0].step and not request.from_first:
        told = (
            f"is of step {places[0].step}, and none is earlier; distances are from the initial "
            "weights, which --initial FILE gives; --from-first measures from this step on"
        )
        raise RecordError(str(places[0].path), [told])
    read = [
        weights_in(read_tensors(place, files), request.choice, str(place.path)) for place in places
    ]
    same_names([str(place.path) for place in places], read)
    read = without_copies(read, files)
    logged, left_out = _logged(places[-1].path)
    return Prepared(request, found, tuple(read), logged, store, left_out)


def _logged(checkpoint: Path) -> tuple[Logged | None, str]:
    """What a trainer logged, and what was left out of that; the weights are read without it."""
    try:
        logged = read_trainer_state(checkpoint)
    except RecordError as error:
        return None, f"left out, with the losses and learning rates that it may hold: {error}"
    if logged is None or not logged.malformed:
        return logged, ""
    return logged, (
        f"left out of the trainer's log: {logged.malformed}, which are entries without a step, or "
        "losses and learning rates that are no finite numbers"
    )


def record_checkpoints(
    prepared: Prepared, files: OpenFiles, progress: Callable[[int], object] = lambda _: None
) -> xr.Dataset:
    """Read all checkpoints and write the recording.

    Arguments:
        prepared: what to do.
        files: that are read.
        progress: is told of bytes that were read.

    Returns:
        The records.

    Raises:
        RecordError: for a file that is cut off or changed, or weights that are not finite; nothing
            is left behind.
        OSError: when the disk refuses; what was read stands in a journal beside the recording.
    """
    one_pass = pass_over(prepared, files)
    progress(prepared.nbytes - one_pass.nbytes)
    sums = one_pass.run(progress)
    records = dataset(prepared, sums)
    check(records, str(prepared.store.file))
    content = to_bytes(records)
    if fault := size_fault(len(content)):
        raise RecordError(str(prepared.store.file), [fault])
    make_folder(prepared.store.file.parent)
    with whole_file(prepared.store.file) as file:
        file.write(content)
    one_pass.forget()
    return records


def pass_over(prepared: Prepared, files: OpenFiles) -> StepProducts:
    """The pass over the checkpoints, with what its journal has already."""
    file = prepared.store.file
    return StepProducts(
        prepared.found.places,
        [weights.tensors for weights in prepared.weights],
        files,
        file.with_name(f"{file.name}{_JOURNAL}"),
        workers=prepared.request.workers,
    )


def dataset(prepared: Prepared, sums: Sums) -> xr.Dataset:
    """The recording.

    Arguments:
        prepared: what was read.
        sums: what came of it.
    """
    request, iterations = prepared.request, np.array(prepared.iterations)
    tensors = prepared.weights[0].tensors
    values: dict[str, Any] = {
        "run": prepared.store.folder.name,
        "batch_size": request.batch_size or 0,
        "iteration": iterations,
        "since": iterations,
        "tensor": list(tensors),
        "tensor_size": [tensor.numel for tensor in tensors.values()],
        "distance_sq": sums.distance_sq,
        "weight_sq": sums.weight_sq,
        "overlap": sums.overlap,
        "displacement_sq": between_all(sums.products)[1:, 1:],
        **{name: as_label(name, value) for name, value in request.labels.items()},
    }
    if np.all(np.diff(iterations) == 1):  # each update is there, so that the path is known
        values["step_sq"] = sums.step_sq
    values |= _training(prepared, iterations)
    return xr.Dataset.from_dict(pack(values, _attributes(prepared, sums)))


def _training(prepared: Prepared, iterations: np.ndarray) -> dict[str, Any]:
    """Learning rates, losses and epochs, as far as they are known."""
    request, logged = prepared.request, prepared.logged
    found: dict[str, Any] = {}
    steps = iterations + prepared.found.places[0].step
    if request.learning_rate is not None:
        found["learning_rate"] = np.full(len(steps), request.learning_rate)
        found["learning_rate_sum"] = request.learning_rate * iterations
        found["base_learning_rate"] = request.learning_rate
    elif logged is not None and logged.rate.size:
        found["learning_rate"] = logged.rates(steps)
        found["learning_rate_sum"] = logged.rate_sums(steps)
    if logged is not None and logged.loss.size:
        found["loss"] = logged.losses(steps)
    if request.batch_size:
        found["samples"] = iterations * float(request.batch_size)
    if request.batch_size and "data_size" in request.labels:
        size = float(as_label("data_size", request.labels["data_size"]))
        found["epoch"] = iterations * request.batch_size / size
    return found


def _attributes(prepared: Prepared, sums: Sums) -> dict[str, str | int]:
    """Where the recording comes from: names and steps, what was left out, and assumptions."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    places, weights = prepared.found.places, prepared.weights
    config = {
        "checkpoints": {place.path.name: place.step for place in places},
        "bytes": prepared.nbytes,
        "types": prepared.types(),
        "left_out": {why: len(names) for why, names in weights[0].left_out.items()},
    }
    versions = {name: version(name) for name in _VERSIONS}
    events = [(0, text) for text in notes(prepared, sums)]
    return {
        "title": "Weight distances between the checkpoints of a training run",
        "source": "ultraslow checkpoints",
        "created": now,
        "config": json.dumps(config),
        "versions": json.dumps({"python": platform.python_version(), **versions}),
        "history": f"{now} read from {len(places)} checkpoints by ultraslow checkpoints",
        "noise_absent": "checkpoints hold no gradients",
        **events_attributes(events),
    }


def notes(prepared: Prepared, sums: Sums) -> Iterator[str]:
    """What a reader of the numbers has to know of them, in sentences."""
    places, tensors = prepared.found.places, prepared.weights[0].tensors
    if places[0].step:
        yield f"distances are from the weights of step {places[0].step}, where iteration 0 is"
    still = [name for name, row in zip(tensors, sums.distance_sq.T, strict=True) if not row.any()]
    if still:
        yield (
            f"{len(still)} of {len(tensors)} tensors never move ({_some(still)}): frozen, or no "
            "weights; they count in norms and angles"
        )
    rounding = prepared.rounding()
    if rounding:
        floor = rounding * float(sums.weight_sq[0].sum()) ** 0.5
        yield (
            f"weights are stored as {' and '.join(prepared.types())}: rounding alone makes a "
            f"distance of about {floor:.2g}"
        )
    yield from _strangers(prepared, sums)
    if prepared.left_out:
        yield prepared.left_out
    logged = prepared.logged.rate if prepared.logged is not None else np.empty(0)
    if prepared.request.learning_rate is None and logged.size and np.ptp(logged) > 0:
        yield "learning rates between those that the trainer logged are interpolated"


def _strangers(prepared: Prepared, sums: Sums) -> Iterator[str]:
    """Checkpoints that are about at right angles to the one before, as those of other seeds are.

    Independent weights of n values have a cosine of about n^−½ and, of one recipe, about equal
    norms; training turns weights slowly, so that those before or after overlap much more. It is
    judged by the large tensors, as scales and biases begin alike in all runs.
    """
    sizes = np.array([tensor.numel for tensor in prepared.weights[0].tensors.values()])
    large = sizes >= min(_LARGE, sizes.max())
    norms = np.sqrt(sums.weight_sq[:, large])
    with np.errstate(invalid="ignore", divide="ignore"):
        products = (norms[1:] ** 2 + norms[:-1] ** 2 - sums.step_sq[1:, large]) / 2
        cosines = products / (norms[1:] * norms[:-1])
        ratios = np.abs(np.log(norms[1:] / norms[:-1]))
    around = np.nan_to_num(np.median(cosines, axis=1), nan=1.0)
    apart = np.all((np.abs(cosines) < _APART) & (ratios < np.log(_ALIKE)), axis=1)
    for k in np.flatnonzero(apart).tolist():
        beside = [*around[max(k - 1, 0) : k], *around[k + 1 : k + 2]]
        if sizes.max() >= _LARGE and beside and max(beside) > _TURNED:
            one, other = (prepared.found.places[place].path.name for place in (k, k + 1))
            yield (
                f"{one} and {other} are at right angles to each other (cosine "
                f"{around[k]:.2g}) with norms alike, as weights of two runs are; checkpoints of "
                "one run overlap more, as those beside do: distances beyond are none of one run"
            )


def _in_words(count: int) -> str:
    """Bytes in a unit of a fitting size.

    >>> _in_words(2_990_000_000), _in_words(12)
    ('2.99 GB', '12 bytes')
    """
    for size, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} bytes"


def _some(names: tuple[str, ...] | list[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
