"""Growth fits of whole sets of runs, over the phase of constant learning rate."""

from collections.abc import Callable, Iterable

import numpy as np
import xarray as xr

from .curves import constant_rate, label, total_distance
from .growth import fit_growth

Progress = Callable[[Iterable], Iterable]
Curves = dict[str, xr.DataArray]


def fit_totals(
    runs: dict[str, xr.Dataset], *, level: float = 0.95, progress: Progress = iter
) -> xr.Dataset:
    """Growth fits of each run's total distance.

    Arguments:
        runs: recordings by node name.
        level: confidence level of the intervals.
        progress: wraps the sets of curves while they are fitted, as `tqdm.tqdm` does.

    Returns:
        `fit_growth`'s Dataset along `node`, with `run`, `batch_size` and `seed` as coordinates and
        the window's `first`, `last` and `decades`.
    """
    curves = {name: _window(total_distance(run), run) for name, run in runs.items()}
    return _labelled(_fit(curves, level=level, progress=progress), runs)


def fit_tensors(
    runs: dict[str, xr.Dataset], *, level: float = 0.95, progress: Progress = iter
) -> xr.Dataset:
    """Growth fits of each tensor's distance, run by run.

    Arguments:
        runs: recordings by node name.
        level: confidence level of the intervals.
        progress: wraps the sets of curves while they are fitted.

    Returns:
        As `fit_totals`, along `node` and `tensor`; tensors that a run does not have are missing.
    """
    curves = {
        name: _window((run["distance_sq"] ** 0.5).rename("distance"), run)
        for name, run in runs.items()
    }
    return _labelled(_fit(curves, level=level, progress=progress), runs)


def _window(distance: xr.DataArray, run: xr.Dataset) -> xr.DataArray:
    plain = distance.sel(iteration=constant_rate(run).iteration)
    return plain.reset_coords(drop=True)


def _fit(curves: Curves, *, level: float, progress: Progress) -> xr.Dataset:
    """Fit curves that share their axes in one call: calibration is then shared as well."""
    alike: dict[tuple, list[str]] = {}
    for name, curve in curves.items():
        axes = tuple(tuple(curve[dim].values.tolist()) for dim in map(str, curve.dims))
        alike.setdefault(axes, []).append(name)
    parts = []
    for names in progress(alike.values()):
        stacked = xr.concat([curves[name] for name in names], dim="node")
        parts.append(fit_growth(stacked.assign_coords(node=list(names)), level=level))
    joined = xr.concat(parts, dim="node", combine_attrs="override")
    return joined.sel(node=list(curves))


def _labelled(fits: xr.Dataset, runs: dict[str, xr.Dataset]) -> xr.Dataset:
    windows = [constant_rate(run) for run in runs.values()]
    coordinates = {
        "run": [str(run["run"].values) for run in runs.values()],
        "batch_size": [int(run["batch_size"].values) for run in runs.values()],
        "seed": [str(label(run, "seed")) for run in runs.values()],
    }
    columns = {
        "first": [int(window.iteration[0]) if window.iteration.size else 0 for window in windows],
        "last": [int(window.iteration[-1]) if window.iteration.size else 0 for window in windows],
        "decades": [window.decades for window in windows],
    }
    fits = fits.assign_coords({name: ("node", values) for name, values in coordinates.items()})
    return fits.assign({name: ("node", np.asarray(values)) for name, values in columns.items()})
