"""Read recordings: files, folders, live folders and globs into one tree, a node a run.

A closed recording is one file, `PATH.nc`. A live one is a folder `PATH/` of segments, each a sound
recording of its own records. Where both are there, the closed one is read. Files come from other
machines, so sizes are looked at before values are read, and nothing is ever unpickled.
"""

import glob
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import netCDF4
import numpy as np
import xarray as xr

from diffusion.recording import COORDINATES, RecordError, check, seam_faults
from diffusion.seal import is_broken

SEGMENTS = "segment-*.nc"
# A recording of 300 records, 1000 tensors and 10 fields has 24 MB. A file that asks for more than
# this much memory is broken, hostile or no recording.
MEMORY_LIMIT = 2**31
# Bytes that a variable-length string takes in memory at least: a pointer and a Python string.
_STRING_BYTES = 64
_NODE_LENGTH = 60

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

# Attributes of values that stand for others; NaN as fill value of floats does not.
_PACKED = {"scale_factor", "add_offset", "missing_value", "_Unsigned"}


@dataclass(frozen=True)
class Unusable:
    """A path that gave no recording, with every fault found in it."""

    source: str
    faults: tuple[str, ...]


def load(
    paths: Paths, *, progress: Callable[[Iterable[Path]], Iterable[Path]] = iter
) -> xr.DataTree:
    """The recordings at the given paths, one node a run.

    Paths may be files, folders that hold recordings at any depth, live folders, globs, or a mix.
    What cannot be used is listed, not hidden: `unusable` gives it back.

    Arguments:
        paths: where to look.
        progress: wraps the recordings found while they are read, as `tqdm.tqdm` does.

    Returns:
        A tree whose nodes are recordings held in memory. Node names are made safe and unique; the
        run's own name is its `run` coordinate. Each node has the attributes `path`, `sha256` and
        `state` (`closed` or `live`); the tree has `unusable`.

    Raises:
        RecordError: when nothing is usable, with all faults.
    """
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    found, faults = _find_all(given)
    nodes: dict[str, xr.Dataset] = {}
    for path in progress(found):
        try:
            dataset, partial = read(path)
        except RecordError as error:
            faults.append(Unusable(error.source, error.faults))
            continue
        nodes[_node_name(str(dataset["run"].values), nodes)] = dataset
        faults.extend(partial)
    if not nodes:
        raise _nothing_usable(given, faults)
    tree = xr.DataTree.from_dict(nodes)
    tree.attrs["unusable"] = json.dumps([[item.source, item.faults] for item in faults])
    return tree


def unusable(runs: xr.DataTree) -> tuple[Unusable, ...]:
    """What `load` found and could not use.

    Arguments:
        runs: a tree from `load`.

    Returns:
        One entry a path; empty for a tree that was made otherwise.
    """
    listed = json.loads(runs.attrs.get("unusable", "[]"))
    return tuple(Unusable(source, tuple(faults)) for source, faults in listed)


def read(path: Path) -> tuple[xr.Dataset, tuple[Unusable, ...]]:
    """One recording, from its file or from the segments of a live folder.

    Arguments:
        path: a file, or a folder with segments.

    Returns:
        The recording, and the segments that were left out. The first broken segment ends what is
        read of a live folder, so that no gap goes unseen.

    Raises:
        RecordError: when the recording cannot be used.
    """
    if not path.is_dir():
        return _with_origin(_read_file(path), path, [path], "closed"), ()
    parts: list[xr.Dataset] = []
    sound: list[Path] = []
    left_out: list[Unusable] = []
    for segment in sorted(path.glob(SEGMENTS)):
        try:
            if not left_out:
                parts.append(_read_file(segment))
                sound.append(segment)
            else:
                left_out.append(Unusable(str(segment), ("follows a segment that cannot be read",)))
        except RecordError as error:
            left_out.append(Unusable(error.source, error.faults))
    if not parts and not left_out:  # the run was closed between finding and reading
        return read(path.with_name(path.name + ".nc"))
    if not parts:
        raise RecordError(str(path), [fault for item in left_out for fault in item.faults])
    return _with_origin(_join(path, parts), path, sound, "live"), tuple(left_out)


def _find_all(given: Sequence[str | os.PathLike[str]]) -> tuple[list[Path], list[Unusable]]:
    found: dict[Path, Path] = {}
    faults: list[Unusable] = []
    for item in given:
        here = list(_find(os.fspath(item)))
        if not here:
            faults.append(Unusable(os.fspath(item), (_absence(os.fspath(item)),)))
        found.update((path.resolve(), path) for path in here)
    return list(found.values()), faults


def _find(text: str) -> Iterator[Path]:
    path = Path(text)
    closed = path.with_name(path.name + ".nc") if path.name else path
    if path.is_dir():
        below = list(_recordings_below(path))
        # The folder of a closed recording keeps its initial weights, and segments for a moment.
        own = closed.is_file() and (not below or _is_live(path))
        yield from [closed] if own else below
    elif path.exists():
        yield path
    elif closed.is_file():
        yield closed
    elif glob.has_magic(text):
        for match in sorted(glob.glob(text, recursive=True)):
            yield from _find(match)


def _recordings_below(folder: Path) -> Iterator[Path]:
    if _is_live(folder):
        yield folder
        return
    entries = sorted(folder.iterdir())
    names = {entry.name for entry in entries}
    for entry in entries:
        if entry.is_dir() and not entry.is_symlink():
            if not (_is_live(entry) and f"{entry.name}.nc" in names):
                yield from _recordings_below(entry)
        elif entry.suffix == ".nc" and entry.is_file():
            yield entry


def _is_live(folder: Path) -> bool:
    return any(folder.glob(SEGMENTS))


def _absence(text: str) -> str:
    if Path(text).is_dir():
        return "the folder holds no recordings (files ending in .nc, or segments of a live run)"
    if glob.has_magic(text):
        return "the pattern matches no recording"
    return "no such file or folder"


def _nothing_usable(
    given: Sequence[str | os.PathLike[str]], faults: list[Unusable]
) -> RecordError:
    if len(faults) == 1:
        return RecordError(faults[0].source, faults[0].faults)
    listed = [f"{item.source}: {fault}" for item in faults for fault in item.faults]
    where = ", ".join(os.fspath(item) for item in given) if given else "no path given"
    return RecordError(where, ["no usable recording", *listed])


def _read_file(path: Path) -> xr.Dataset:
    """One file, its bytes and its header checked before any value is read; opened once."""
    _refuse_damaged(path)
    try:
        with netCDF4.Dataset(path, "r") as header:
            faults = list(_header_faults(header))
            if faults:
                raise RecordError(str(path), faults)
            dataset = _dataset(header)
    except RecordError:
        raise
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, MemoryError) as error:
        raise RecordError(str(path), [_open_fault(path, error)]) from error
    check(dataset, str(path))
    return dataset


def _dataset(header: netCDF4.Dataset) -> xr.Dataset:
    """All values, as `xarray.open_dataset` would give them; for plain variables without its cost.

    Decoding every variable lazily takes two thirds of the time of reading a recording. Recordings
    need none, unless another program packed them.
    """
    if any(_PACKED & set(variable.ncattrs()) for variable in header.variables.values()):
        store = xr.backends.NetCDF4DataStore(header)
        return xr.open_dataset(store, decode_times=False).load()
    header.set_auto_maskandscale(False)
    coordinates = set(header.variables) & (set(header.dimensions) | set(COORDINATES))
    variables = {name: _variable(variable) for name, variable in header.variables.items()}
    attributes = {name: header.getncattr(name) for name in header.ncattrs()}
    attributes.pop("coordinates", None)
    return xr.Dataset(
        {name: value for name, value in variables.items() if name not in coordinates},
        {name: value for name, value in variables.items() if name in coordinates},
        attributes,
    )


def _variable(variable: netCDF4.Variable) -> xr.Variable:
    values = np.asarray(variable[...])
    if variable.dtype is str:
        values = values.astype(str)
    attributes = {name: variable.getncattr(name) for name in variable.ncattrs()}
    for encoding in ("_FillValue", "coordinates"):
        attributes.pop(encoding, None)
    return xr.Variable(variable.dimensions, values, attributes)


def _refuse_damaged(path: Path) -> None:
    """Refuse what is no file, is empty, or holds other bytes than its seal was made for."""
    if not path.is_file():
        raise RecordError(str(path), ["is not a file"])
    content = path.read_bytes()
    if not content:
        raise RecordError(str(path), ["has zero bytes"])
    if is_broken(content):
        raise RecordError(str(path), ["is damaged: its bytes do not fit its checksum"])


def _header_faults(header: netCDF4.Dataset) -> Iterator[str]:
    if "schema" not in header.ncattrs():
        yield "attribute schema is missing: this is not a recording"
        return
    claimed = {name: _claimed_bytes(variable) for name, variable in header.variables.items()}
    if sum(claimed.values()) > MEMORY_LIMIT:
        largest = max(claimed, key=claimed.__getitem__)
        shape = header.variables[largest].shape
        yield (
            f"claims {sum(claimed.values()) / 2**30:.3g} GiB of values, at most "
            f"{MEMORY_LIMIT / 2**30:.3g} GiB are read; the largest is {largest[:80]!r} of {shape}"
        )


def _claimed_bytes(variable: netCDF4.Variable) -> int:
    item = np.dtype(variable.dtype).itemsize if variable.dtype is not str else _STRING_BYTES
    # Python integers: a product of claimed sizes may exceed 64 bits.
    total = max(item, 1)
    for length in variable.shape:
        total *= int(length)
    return total


def _open_fault(path: Path, error: Exception) -> str:
    with path.open("rb") as file:
        start = file.read(8)
    if start.startswith((b"\x89HDF", b"CDF")):
        return f"is a damaged or cut-off NetCDF file ({_short(error)})"
    return f"is not a NetCDF file ({_short(error)})"


def _short(error: Exception) -> str:
    text = " ".join(str(getattr(error, "strerror", None) or error).split())
    return text[:200] or type(error).__name__


def _join(path: Path, parts: list[xr.Dataset]) -> xr.Dataset:
    faults = list(_seam_faults(parts))
    if faults:
        raise RecordError(str(path), faults)
    joined = xr.concat(
        parts,
        dim="iteration",
        data_vars="minimal",
        coords="minimal",
        compat="override",
        join="override",
        combine_attrs="override",
    )
    check(joined, str(path))
    return joined


def _seam_faults(parts: list[xr.Dataset]) -> Iterator[str]:
    for earlier, later in pairwise(parts):
        yield from seam_faults(earlier, later)
        if str(earlier["run"].values) != str(later["run"].values):
            starts = int(later["iteration"][0])
            yield f"the segment that starts at iteration {starts} belongs to another run"


def _with_origin(dataset: xr.Dataset, path: Path, files: Sequence[Path], state: str) -> xr.Dataset:
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return dataset.assign_attrs(path=str(path), sha256=digest.hexdigest(), state=state)


def _node_name(run: str, taken: Mapping[str, object]) -> str:
    # A node name is part of a path: no slash, no leading dot, nothing a shell would read.
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", run).strip("-.")[:_NODE_LENGTH] or "run"
    name, count = safe, 1
    while name in taken:
        count += 1
        name = f"{safe}-{count}"
    return name
