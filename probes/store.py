"""The store: immutable NetCDF segments while a run lives, one file when it closes.

A live recording is a folder of segments. Each is written under a temporary name, synced to disk
and renamed, so a reader sees whole segments only and a killed run loses what was not yet written,
nothing else. Every segment is a valid recording of its own records; they join along `iteration`.
Closing writes all records to one `.nc` beside the folder in the same way, and only then removes
the segments. At any moment the `.nc`, where there is one, or else the segments hold all records.

Nothing is locked or appended to: `to_netcdf(mode="a")` would replace the first records instead of
adding to them, and network file systems lock badly. Every file ends with a seal
(`diffusion.seal`), which shows any damage.
"""

import os
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import xarray as xr

from diffusion.recording import RecordError, check, seam_faults
from diffusion.seal import is_broken, seal

from .lease import Lease

SUFFIX = ".nc"
_SEGMENT = "segment-*.nc"


class SegmentStore:
    """The files of one recording."""

    def __init__(self, path: str | Path) -> None:
        """Name the files: `path` is the live folder, `path` + `.nc` the closed file."""
        path = Path(path)
        self.folder = path.with_suffix("") if path.suffix == SUFFIX else path
        self.file = self.folder.with_name(self.folder.name + SUFFIX)
        self.lease = Lease(self.folder)

    def open(self, *, resume: bool = False) -> None:
        """Make the live folder and take its lease.

        Arguments:
            resume: whether a recording of this name is to be continued.

        Raises:
            FileExistsError: when somebody records here or, unless it is to be resumed, when there
                is already a recording of this name, live or closed.
        """
        for found in [] if resume else [self.file, *self.segments()]:
            if found.exists():
                raise FileExistsError(
                    f"path: found a recording at {found}; choose another path, move it away, or "
                    "continue it with resume"
                )
        self.folder.mkdir(parents=True, exist_ok=True)
        self.lease.acquire(take_over=resume)

    def segments(self) -> list[Path]:
        """Whole segments in the order of their records."""
        return sorted(self.folder.glob(_SEGMENT)) if self.folder.is_dir() else []

    def read(self) -> xr.Dataset | None:
        """All records, live or closed; None when there are none.

        Raises:
            RecordError: when a file is damaged or segments do not fit.
        """
        parts = [self.file] if self.file.exists() else self.segments()
        return join([read(part) for part in parts], str(self.folder)) if parts else None

    def write(self, records: xr.Dataset) -> Path:
        """Add a segment that holds the given records; it is on disk when this returns.

        Raises:
            TakenOver: when another process records here now.
            OSError, RuntimeError: when the disk refuses; nothing is left behind.
        """
        self.lease.check()
        target = self._segment(int(records["iteration"][0]))
        _write_whole(target, records)
        return target

    def cut(self, last: int) -> None:
        """Make a closed recording live again and drop the records after an iteration.

        Arguments:
            last: last iteration to keep.
        """
        self._clear_away()
        if self.file.exists():
            self._finish()
            os.replace(self.file, self._segment(0))
            _sync(self.file.parent)
        # From the end, so that at any moment what is left is a recording without a gap.
        for segment in reversed(self.segments()):
            records = read(segment)
            kept = records.isel(iteration=records["iteration"].values <= last)
            if kept.sizes["iteration"] == 0:
                segment.unlink()
            elif kept.sizes["iteration"] < records.sizes["iteration"]:
                _write_whole(segment, kept)

    def compact(self, attributes: Mapping[str, str] | None = None) -> Path:
        """Join all segments into the closed file, then remove them and give the lease back.

        Called again after a crash within, it finishes what is left to do.

        Arguments:
            attributes: added to those of the recording.

        Raises:
            TakenOver: when another process records here now.
        """
        self.lease.check()
        if not self.file.exists():
            parts = self.segments()
            if not parts:
                raise FileNotFoundError(f"{self.folder}: found no segments to close")
            records = join([read(part) for part in parts], str(self.folder))
            _write_whole(self.file, records.assign_attrs(attributes or {}))
        self._finish()
        self.close()
        return self.file

    def close(self) -> None:
        """Give the lease back; an empty folder goes."""
        self.lease.release()
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _segment(self, first: int) -> Path:
        return self.folder / f"segment-{first:012d}.nc"

    def _finish(self) -> None:
        """Remove the segments that the closed file holds as well."""
        segments = self.segments()
        closed = read(self.file)["iteration"].values if segments else np.array([])
        for segment in segments:
            extra = np.setdiff1d(read(segment)["iteration"].values, closed)
            if extra.size:
                raise FileExistsError(
                    f"path: {segment} holds iteration {extra[0]}, which {self.file} does not; "
                    "these are two recordings, move one of them away"
                )
        for segment in segments:
            segment.unlink()

    def _clear_away(self) -> None:
        """Remove what a killed writer left half written."""
        for left in (*self.folder.glob(".segment-*.tmp"), _temporary(self.file)):
            left.unlink(missing_ok=True)


def join(parts: list[xr.Dataset], source: str = "recording") -> xr.Dataset:
    """Records of consecutive segments of one recording as one dataset.

    Attributes are those of the last segment, which knows of resumptions.

    Raises:
        RecordError: when the segments do not follow one another.
    """
    faults = [fault for pair in pairwise(parts) for fault in seam_faults(*pair)]
    if faults:
        raise RecordError(source, faults)
    joined = xr.concat(
        parts,
        dim="iteration",
        data_vars="minimal",
        coords="minimal",
        compat="override",
        join="override",
        combine_attrs="override",
    )
    return joined.assign_attrs(parts[-1].attrs)


def read(path: Path) -> xr.Dataset:
    """The records of one file, checked.

    Raises:
        RecordError: when the file is damaged or no recording.
    """
    try:
        content = path.read_bytes()
        if not content:
            raise RecordError(str(path), ["has zero bytes"])
        if is_broken(content):
            raise RecordError(str(path), ["is damaged: its bytes do not fit its checksum"])
        with xr.open_dataset(path, engine="netcdf4", decode_times=False) as dataset:
            records = dataset.load()
    except RecordError:
        raise
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, MemoryError) as error:
        raise RecordError(str(path), [f"cannot be read: {error}"]) from error
    check(records, str(path))
    return records


def _write_whole(target: Path, records: xr.Dataset) -> None:
    """Write under a temporary name, seal, sync, rename: the target is absent, old or whole."""
    temporary = _temporary(target)
    try:
        _to_netcdf(records, temporary)
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync(target.parent)


def _to_netcdf(records: xr.Dataset, path: Path) -> None:
    # Not compressed: that saves a tenth of the bytes and makes reading a third slower (measured).
    records.to_netcdf(path, engine="netcdf4")
    with path.open("r+b") as file:
        mark = seal(file.read())
        file.write(mark)
        file.flush()
        os.fsync(file.fileno())


def _temporary(target: Path) -> Path:
    return target.with_name(f".{target.name}.tmp")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
