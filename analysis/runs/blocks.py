"""Functions of series in chunks: each chunk by itself, by threads, processes or a cluster.

Dask deals the chunks out. A chunk has all records of its series, and what is found of a series
does not depend on which others are in its chunk, so that results are those of one table in memory.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController, threadpool_limits

Array = NDArray[np.float64]
# Of a chunk's series, and of what is read beside them: results by name, each (series, …).
OfBlock = Callable[[xr.DataArray, Mapping[str, xr.DataArray]], Mapping[str, NDArray]]

_BESIDE, _COORDINATE = "beside ", "coordinate "


@dataclass(frozen=True)
class Results:
    """What is found of every series.

    Attributes:
        names: of numbers and of texts, in their order.
        texts: those of them that are a text.
        matrices: names of square matrices, with their size.
    """

    names: tuple[str, ...]
    texts: tuple[str, ...]
    matrices: Mapping[str, int]

    @property
    def numbers(self) -> tuple[str, ...]:
        """Names of those that are a number."""
        return tuple(name for name in self.names if name not in self.texts)


def in_blocks(
    series: xr.DataArray,
    function: OfBlock,
    beside: Mapping[str, xr.DataArray],
    results: Results,
) -> dict[str, Any]:
    """Results of all series, chunk by chunk, once their values are asked for.

    Arguments:
        series: in chunks; the last dimension is `iteration`.
        function: what is done with a chunk: it gets the series as `(series, iteration)`, with the
            coordinates along `iteration`, and what belongs beside them.
        beside: given to the function as well, over `iteration` and over dimensions of the series.
        results: what it finds.

    Returns:
        Arrays of Dask over the dimensions of the series, by name.

    Raises:
        ValueError: when chunks split `iteration`.
    """
    _check_whole(series)
    along = {
        f"{_COORDINATE}{name}": one.reset_coords(drop=True)
        for name, one in series.coords.items()
        if "iteration" in one.dims and name != "iteration" and one.dtype.kind in "fiu"
    }
    along |= {
        f"{_BESIDE}{name}": one.reset_coords(drop=True).reindex(iteration=series["iteration"])
        for name, one in beside.items()
    }
    width = len(results.numbers) + sum(size**2 for size in results.matrices.values())
    numbers, texts = xr.apply_ufunc(
        _of_block,
        series.reset_coords(drop=True),
        *along.values(),
        input_core_dims=[["iteration"]] * (1 + len(along)),
        output_core_dims=[["number"], ["text"]],
        dask="parallelized",
        output_dtypes=[np.float64, object],
        dask_gufunc_kwargs={"output_sizes": {"number": width, "text": len(results.texts)}},
        kwargs={
            "times": series["iteration"].values,
            "names": [(name, one.name) for name, one in along.items()],
            "function": function,
            "results": results,
        },
    )
    dims = series.dims[:-1]
    numbers, texts = numbers.transpose(*dims, "number").data, texts.transpose(*dims, "text").data
    columns = {name: numbers[..., place] for place, name in enumerate(results.numbers)}
    columns |= {name: texts[..., place] for place, name in enumerate(results.texts)}
    found = {name: columns[name] for name in results.names}
    place = len(results.numbers)
    for name, size in results.matrices.items():
        flat = numbers[..., place : place + size**2]
        found[name] = flat.reshape(*flat.shape[:-1], size, size)
        place += size**2
    return found


def _of_block(
    values: NDArray,
    *along: NDArray,
    times: NDArray,
    names: list[tuple[str, Any]],
    function: OfBlock,
    results: Results,
) -> tuple[Array, NDArray]:
    """Numbers (…, number) and texts (…, text) of a chunk's series, values (…, iteration)."""
    shape = values.shape[:-1]

    def series(part: NDArray, name: Any = None) -> xr.DataArray:
        table = np.broadcast_to(part, values.shape).reshape(-1, times.size)
        return xr.DataArray(table, {"iteration": times}, ["series", "iteration"], name=name)

    own = {key: series(part, name) for (key, name), part in zip(names, along, strict=True)}
    coordinates = {
        key.removeprefix(_COORDINATE): one
        for key, one in own.items()
        if key.startswith(_COORDINATE)
    }
    beside = {
        key.removeprefix(_BESIDE): one for key, one in own.items() if key.startswith(_BESIDE)
    }
    found = function(series(values).assign_coords(coordinates), beside)
    count = values.size // max(times.size, 1)
    columns = [np.asarray(found[name], dtype=np.float64)[:, None] for name in results.numbers]
    columns += [found[name].reshape(count, -1) for name in results.matrices]
    texts = np.stack([found[name].astype(object) for name in results.texts], axis=1)
    return np.concatenate(columns, axis=1).reshape(*shape, -1), texts.reshape(*shape, -1)


def _check_whole(series: xr.DataArray) -> None:
    pieces = series.chunksizes["iteration"]
    if len(pieces) > 1:
        name = series.name or "distance"
        raise ValueError(
            f"{name}: found its {sum(pieces)} records in {len(pieces)} chunks along `iteration`, "
            "expected one, as a fit takes all records of a series; .chunk(iteration=-1) joins them"
        )


class OneThread:
    """Linear algebra by one thread, for as long as any thread is inside.

    The limit is one of the whole process: the first that enters sets it, the last that leaves
    takes it back. The libraries are looked for once, as that takes a millisecond.
    """

    def __init__(self) -> None:
        self._guard, self._inside = Lock(), 0
        self._libraries: ThreadpoolController | None = None
        self._limits: threadpool_limits | None = None

    def __enter__(self) -> None:
        with self._guard:
            if not self._inside:
                self._libraries = self._libraries or ThreadpoolController()
                self._limits = self._libraries.limit(limits=1, user_api="blas")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._guard:
            self._inside -= 1
            if not self._inside and self._limits is not None:
                self._limits.restore_original_limits()
                self._limits = None


ONE_THREAD = OneThread()  # there is one limit, so there is one of these
