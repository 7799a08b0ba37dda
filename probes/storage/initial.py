"""w0 on disk: the initial weights of a run, from which every distance is measured.

Without them a resumed run would measure distances from somewhere else. They lie in the live folder
as safetensors, one file for each part of the weights: one file of a plain or replicated model, one
for each shard of a sharded one. A file tells the whole shapes and the first row it holds of each
tensor, so that any other sharding along dimension 0 can be read back, and the SHA-256 of its
values.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from torch import Tensor
from torch.distributed.tensor import DTensor

from ultraslow.diffusion.recording import make_folder, whole_file
from ultraslow.probes.distributed import Processes
from ultraslow.probes.norms import Blockwise

from .elsewhere import OnDisk, OnHost
from .weights import Rows, WeightsFile, read_header, read_rows, refuse_damaged, rows_of, write

_PATTERN = "initial-*-of-*.safetensors"


@dataclass(frozen=True)
class Part:
    """Which part of the weights a process holds, and whether it is the one to save it.

    Arguments:
        index: number of the part.
        count: parts of the whole.
        saves: whether this process saves it; replicas of the same part do not.
    """

    index: int
    count: int
    saves: bool

    @property
    def name(self) -> str:
        """Name of the part's file."""
        return name_of(self.index, self.count)


def name_of(index: int, count: int) -> str:
    """Name of the file of one part.

    >>> name_of(0, 2)
    'initial-00000-of-00002.safetensors'
    """
    return f"initial-{index:05d}-of-{count:05d}.safetensors"


def weight_files(folder: Path) -> list[Path]:
    """Files of initial weights in a live folder."""
    return sorted(folder.glob(_PATTERN)) if folder.is_dir() else []


def own_part(parameters: Sequence[Tensor], processes: Processes) -> Part:
    """This process's part of the weights.

    Arguments:
        parameters: of the model as it is trained.
        processes: that train it together.
    """
    sharded = next((p for p in parameters if isinstance(p, DTensor)), None)
    if sharded is None:
        return Part(0, 1, processes.writes)
    mesh = sharded.device_mesh
    cuts = [axis for axis, place in enumerate(sharded.placements) if place.is_shard()]
    copies = [axis for axis in range(mesh.ndim) if axis not in cuts]
    index, count = 0, 1
    for axis in cuts:
        index = index * mesh.shape[axis] + mesh.get_local_rank(axis)
        count *= mesh.shape[axis]
    return Part(index, count, all(mesh.get_local_rank(axis) == 0 for axis in copies))


def save_part(folder: Path, part: Part, parameters: Mapping[str, Tensor]) -> bytes:
    """Save this process's part of the weights; it is on disk when this returns.

    Arguments:
        folder: the live folder.
        part: this process's.
        parameters: by name.

    Returns:
        SHA-256 of the values.
    """
    make_folder(folder)
    with whole_file(folder / part.name) as file:
        return write(file, parameters)


def load_weights(
    folder: Path,
    parameters: Mapping[str, Tensor],
    into: Sequence[Tensor | Blockwise],
    *,
    checked: bool = True,
) -> None:
    """Read the initial weights of the rows that this process holds, or learn where they are.

    Arguments:
        folder: the live folder.
        parameters: by name, as they are sharded now.
        into: local tensors that are overwritten, one a parameter; those on disk stay there.
        checked: whether to compare checksums; not of files that were just written.

    Raises:
        ValueError: when the files do not fit the model, saying what differs, or are damaged.
        FileNotFoundError: when there are none.
    """
    saved = [read_header(path) for path in weight_files(folder)]
    if not saved:
        raise FileNotFoundError(
            f"path: found no saved weights in {folder}, from which to measure; expected "
            f"{name_of(0, 1)} or the like"
        )
    wanted = {name: rows_of(parameter) for name, parameter in parameters.items()}
    _refuse_other_tensors(folder, saved, wanted)
    needed = {name: _sources(saved, name, rows) for name, rows in wanted.items()}
    for source in saved if checked else ():
        if any(source in sources for sources in needed.values()):
            refuse_damaged(source)
    for (name, rows), target in zip(wanted.items(), into, strict=True):
        if isinstance(target, OnDisk):
            target.found(name, rows, needed[name])
        else:
            held = target.tensor if isinstance(target, OnHost) else target
            read_rows(needed[name], name, rows, cast(Tensor, held))


def identity(folder: Path) -> str:
    """SHA-256 of the checksums of all parts; empty where not all of them can be seen.

    Raises:
        ValueError: when a file cannot be read.
    """
    saved = [read_header(path) for path in weight_files(folder)]
    complete = [source.path.name for source in saved] == [
        name_of(index, len(saved)) for index in range(len(saved))
    ]
    if not saved or not complete:
        return ""
    return combined_digest([bytes.fromhex(source.digest) for source in saved])


def combined_digest(digests: Sequence[bytes]) -> str:
    """One SHA-256 of those of the parts, in their order."""
    return hashlib.sha256(b"".join(digests)).hexdigest()


def _refuse_other_tensors(
    folder: Path, saved: Sequence[WeightsFile], wanted: Mapping[str, Rows]
) -> None:
    known: dict[str, Rows] = {}
    for source in saved:
        known.update(source.rows)
    faults = [*_differences(known, wanted)]
    if faults:
        raise ValueError(f"model: does not fit the initial weights in {folder}: {faults[0]}")


def _differences(known: Mapping[str, Rows], wanted: Mapping[str, Rows]) -> Iterator[str]:
    gone, new = sorted(set(known) - set(wanted)), sorted(set(wanted) - set(known))
    if gone or new:
        yield f"tensors {gone} were saved and are not in the model, {new} were not saved"
        return
    for name, rows in wanted.items():
        if known[name].shape != rows.shape:
            yield f"{name} was saved with shape {known[name].shape}, found {rows.shape}"
        if known[name].dtype != rows.dtype:
            yield f"{name} was saved as {known[name].dtype}, found {rows.dtype}"


def _sources(saved: Sequence[WeightsFile], name: str, rows: Rows) -> list[WeightsFile]:
    """The files that hold the rows, in their order; each row once."""
    at, end, sources = rows.first, rows.first + rows.count, []
    for source in sorted(saved, key=lambda source: source.rows[name].first):
        held = source.rows[name]
        if held.first <= at < min(held.first + held.count, end):
            sources.append(source)
            at = held.first + held.count
    if at < end:
        raise ValueError(
            f"path: found rows of {name} up to {at} in {[source.path.name for source in saved]}, "
            f"expected all up to {end}: a file of initial weights is missing"
        )
    return sources
