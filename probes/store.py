"""The store: immutable NetCDF segments while a run lives, one file when it closes.

A live recording is a folder of segments. Each is written under a temporary name, synced to disk
and renamed, so a reader sees whole segments only and a killed run loses what was not yet written,
nothing else. Every segment is a valid recording of its own records; they join along `iteration`.
Closing writes all records to one `.nc` beside the folder in the same way, and only then removes
the segments.

Nothing is locked or appended to: `to_netcdf(mode="a")` would replace the first records instead of
adding to them, and network file systems lock badly.
"""

import os
from collections.abc import Callable
from pathlib import Path

import xarray as xr

SUFFIX = ".nc"
_SEGMENT = "segment-*.nc"
# Compression costs milliseconds once, at close; float64 sums shrink by about a fifth, counters
# almost to nothing.
_ENCODING = {"zlib": True, "complevel": 4, "shuffle": True}


class SegmentStore:
    """The files of one recording."""

    def __init__(self, path: str | Path) -> None:
        """Name the files: `path` is the live folder, `path` + `.nc` the closed file."""
        path = Path(path)
        self.folder = path.with_suffix("") if path.suffix == SUFFIX else path
        self.file = self.folder.with_name(self.folder.name + SUFFIX)

    def open(self) -> None:
        """Make the live folder.

        Raises:
            FileExistsError: when there is already a recording of this name, live or closed.
        """
        for found in [self.file, *self.segments()]:
            if found.exists():
                raise FileExistsError(
                    f"path: found a recording at {found}; choose another path or move it away"
                )
        self.folder.mkdir(parents=True, exist_ok=True)

    def segments(self) -> list[Path]:
        """Whole segments in the order of their records."""
        return sorted(self.folder.glob(_SEGMENT)) if self.folder.is_dir() else []

    def write(self, records: xr.Dataset) -> Path:
        """Add a segment that holds the given records; it is on disk when this returns."""
        target = self.folder / f"segment-{int(records['iteration'][0]):012d}.nc"
        _write_whole(target, lambda temporary: _to_netcdf(records, temporary))
        return target

    def compact(self) -> Path:
        """Join all segments into the closed file, then remove them."""
        segments = self.segments()
        if not segments:
            raise FileNotFoundError(f"{self.folder}: found no segments to close")
        records = join([_read(segment) for segment in segments])
        _write_whole(self.file, lambda temporary: _to_netcdf(records, temporary, compress=True))
        for segment in segments:
            segment.unlink()
        if not any(self.folder.iterdir()):
            self.folder.rmdir()
        return self.file


def join(parts: list[xr.Dataset]) -> xr.Dataset:
    """Records of consecutive segments of one recording as one dataset."""
    return xr.concat(
        parts,
        dim="iteration",
        data_vars="minimal",
        coords="minimal",
        compat="override",
        join="override",
        combine_attrs="override",
    )


def _read(path: Path) -> xr.Dataset:
    with xr.open_dataset(path, engine="netcdf4") as dataset:
        return dataset.load()


def _to_netcdf(records: xr.Dataset, path: Path, *, compress: bool = False) -> None:
    numeric = [name for name, values in records.variables.items() if values.dtype.kind in "iuf"]
    encoding = {name: _ENCODING for name in numeric if compress and records[name].ndim}
    records.to_netcdf(path, engine="netcdf4", unlimited_dims=["iteration"], encoding=encoding)


def _write_whole(target: Path, write: Callable[[Path], None]) -> None:
    """Write under a temporary name, sync, rename: the target is absent or whole."""
    temporary = target.with_name(f".{target.name}.tmp")
    try:
        write(temporary)
        _sync(temporary)
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync(target.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
