"""Recordings of which the large variables stay on disk until they are asked for.

A recording is read and checked as a whole when it is loaded. What is kept in memory then are its
coordinates, its settings and what it has one number of at each record; variables with a number for
each tensor, or for more, are read again when they are used, in chunks of Dask, on whatever machine
sees the file. That it is still the file which was checked is seen by its digest.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ultraslow.diffusion.recording import FIELDS, nearest, read_variable

Chunks = int | Literal["auto"] | Mapping[str, int | str | None]
_WHOLE = (-1, None)


def chunks_by_dimension(chunks: Chunks) -> dict[str, int | str | None]:
    """How long chunks are along each dimension of a recording; all of `iteration`.

    Arguments:
        chunks: a length for every dimension but `iteration`, "auto" for what Dask finds fit, or a
            length for each dimension by name; −1 is all of it.

    Raises:
        TypeError: when it is neither.
        ValueError: when there is no such dimension, a length is no length, or `iteration` would
            be split.

    >>> chunks_by_dimension({"tensor": 100})["tensor"]
    100
    """
    known = {dim for field in FIELDS.values() for dim in field.dims}
    if isinstance(chunks, Mapping):
        given = {str(dim): size for dim, size in chunks.items()}
    elif chunks == "auto" or isinstance(chunks, int) and not isinstance(chunks, bool):
        given = dict.fromkeys(known - {"iteration"}, chunks)
    else:
        raise TypeError(
            f"chunks: found {type(chunks).__name__}, expected lengths by dimension as "
            "{'tensor': 100}, one length, or 'auto'"
        )
    for dim, size in given.items():
        if dim not in known:
            listed = ", ".join(sorted(known))
            meant = nearest(dim, known)
            raise ValueError(f"chunks: found {dim!r}{meant}, expected some of {listed}")
        if dim == "iteration" and size not in (*_WHOLE, "auto"):
            raise ValueError(
                f"chunks: found {size} along iteration, expected -1: a fit takes all records of "
                "a series; split tensor instead"
            )
        number = isinstance(size, int) and not isinstance(size, bool) and (size > 0 or size == -1)
        if not number and size not in (None, "auto"):
            raise ValueError(
                f"chunks: found {size!r} along {dim}, expected a length, or -1 for all of it"
            )
    return dict.fromkeys(known, -1) | given | {"iteration": -1}


def stored(run: xr.Dataset, path: Path, digest: str, chunks: Chunks) -> xr.Dataset:
    """A recording whose variables of more than a number a record are in chunks, on disk.

    Arguments:
        run: the recording in memory.
        path: of its file.
        digest: of that file, SHA-256 in hexadecimal digits.
        chunks: as `chunks_by_dimension` reads them.

    Raises:
        ImportError: when Dask is not installed.
    """
    try:
        import dask.array as da
    except ImportError as error:
        raise ImportError("Dask is not installed: pip install 'ultraslow[scale]'") from error
    sizes = chunks_by_dimension(chunks)
    lazily = {}
    for name, variable in run.data_vars.items():
        large = "iteration" in variable.dims and variable.ndim > 1
        if not large or variable.dtype.kind not in "fiu":
            continue
        source = StoredVariable(
            os.path.abspath(path), digest, str(name), variable.shape, variable.dtype
        )
        values = da.from_array(
            source,
            chunks=tuple(sizes[str(dim)] for dim in variable.dims),
            name=f"{name}-{digest[:24]}",
            meta=np.empty((0,) * variable.ndim, variable.dtype),
        )
        lazily[str(name)] = (variable.dims, values, variable.attrs)
    return run.assign(lazily)


@dataclass(frozen=True)
class StoredVariable:
    """A variable of a closed recording, read from its file where it is indexed.

    Attributes:
        path: of the file.
        digest: of the file that was loaded.
        name: of the variable.
        shape: lengths along its dimensions.
        dtype: of its values.
    """

    path: str
    digest: str
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def ndim(self) -> int:
        """How many dimensions it has."""
        return len(self.shape)

    def __getitem__(self, key: Any) -> NDArray:
        return read_variable(Path(self.path), self.name, self.digest, key)
