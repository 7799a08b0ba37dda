"""Results and their origin as plain values that JSON can hold."""

import json
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import xarray as xr

from ultraslow.analysis.runs import constant_rate, fitted_at, label, runs_of
from ultraslow.diffusion.recording import COORDINATES, DatasetLike

from .table import plain

if TYPE_CHECKING:  # they take a second, and what is in recordings is told without them
    from ultraslow.analysis.comparison import ArmLaws, LawFound
    from ultraslow.analysis.intervals import Interval
    from ultraslow.analysis.noise import ArmScale, Breakdown
    from ultraslow.analysis.planning import Advice, Plan
    from ultraslow.analysis.scores import CriticalBatch, Gain, Ladder, Rung

VERSIONS = ("ultraslow", "numpy", "scipy", "statsmodels", "xarray", "netCDF4", "matplotlib")
_LABELS = ("seed", "scaling", "model", "data", "optimizer", "world_size")
_FIT = (
    "exponent",
    "exponent_low",
    "exponent_high",
    "offset",
    "slope",
    "onset",
    "noise_model",
    "sigma",
    "status",
    "reason",
    "clock",
    "break_at",
    "exponent_before",
    "exponent_after",
    "detectable",
)
_WHERE = ("first", "last", "decades", "fitted")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that the numbers depend on."""
    return {"python": platform.python_version(), **{name: version(name) for name in VERSIONS}}


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def inputs(runs: xr.DataTree) -> list[dict[str, Any]]:
    """What was read: one row a recording, with its hash, its labels and its attributes."""
    return [input_row(name, run) for name, run in runs_of(runs).items()]


def input_row(name: str, run: DatasetLike) -> dict[str, Any]:
    """What was read of one recording.

    Arguments:
        name: of its node.
        run: the recording, or its heading.
    """
    iteration = run.variables["iteration"].values
    stretch = constant_rate(run)
    attrs = dict(run.attrs)
    row = {
        "node": name,
        "run": str(run.variables["run"].values),
        "path": attrs.pop("path", ""),
        "sha256": attrs.pop("sha256", ""),
        "state": attrs.pop("state", ""),
        "written": attrs.pop("written", ""),
        "unwritten": attrs.pop("unwritten", ""),
        "batch_size": int(run.variables["batch_size"].values) or None,
        "learning_rate": stretch.rate,
        **{field: label(run, field, None) for field in _LABELS},
        "records": iteration.size,
        "last_iteration": int(iteration[-1]),
        "tensors": run.sizes["tensor"],
        "weights": int(run.variables["tensor_size"].values.sum()) or None,
        "constant_rate_decades": stretch.decades,
        "fitted": fitted_at(run) or None,
        "measured": sorted(set(map(str, run.variables)) - {*COORDINATES, *run.sizes}),
        "attributes": {str(key): _parsed(value) for key, value in attrs.items()},
    }
    return plain(row)


def _parsed(value: Any) -> Any:
    """JSON text as its content, anything else as it is."""
    if isinstance(value, str) and value[:1] in "{[" and value:
        try:
            return json.loads(value, parse_constant=lambda _: None)
        except (ValueError, RecursionError):
            return value
    return value


def verdict_rows(verdicts: xr.Dataset) -> list[dict[str, Any]]:
    """Verdicts as one dictionary a prediction, set by set."""
    keys = list(map(str, verdicts.data_vars))
    names = verdicts["prediction"].values.tolist()
    found = []
    for name in verdicts["set"].values.tolist():
        of_set = verdicts.sel(set=name)
        rows = zip(*(of_set[key].values.tolist() for key in keys), strict=True)
        found += [
            {"set": name, "prediction": prediction, **plain(dict(zip(keys, row, strict=True)))}
            for prediction, row in zip(names, rows, strict=True)
        ]
    return found


def fit_rows(fits: xr.Dataset) -> list[dict[str, Any]]:
    """Fits as one dictionary a curve: along `node`, and along `tensor` where they have it."""
    from ultraslow.analysis.growth import LATE_GROWTH

    present = [name for name in (*_FIT, *LATE_GROWTH, *_WHERE) if name in fits]
    keys = [
        name
        for name in ("node", "run", "batch_size", "seed", "arm", "tensor")
        if name in fits.coords
    ]
    columns = fits[present].reset_coords([name for name in keys if name not in fits.dims])
    spread = xr.broadcast(columns)[0].stack(curve=fits["exponent"].dims).reset_index("curve")
    arrays = {name: spread[name].values.tolist() for name in [*keys, *present]}
    listed = [plain(dict(zip(arrays, row, strict=True))) for row in _rows(arrays)]
    for row in listed:
        if row.get("batch_size") == 0:  # nobody knows it
            row["batch_size"] = None
    return listed


def _rows(arrays: dict[str, list]) -> Iterable[tuple]:
    return zip(*arrays.values(), strict=True)


def noise_rows(runs: dict[str, xr.Dataset], *, level: float) -> list[dict[str, Any]]:
    """The noise scale of each run with its interval."""
    from ultraslow.analysis.noise import run_noise_scale

    found = {name: run_noise_scale(run, level=level) for name, run in runs.items()}
    return [plain({"node": name, **scale.record()}) for name, scale in found.items()]


def comparison_rows(found: "Sequence[ArmScale]") -> list[dict[str, Any]]:
    """Noise scales against the batch size, one dictionary an arm."""
    return [
        plain({**vars(one), "scale": one.scale.record(), "crossover": _three(one.crossover)})
        for one in found
    ]


def _three(found: "Interval") -> list[float]:
    return [found.value, found.low, found.high]


def breakdown_numbers(found: "Breakdown | None") -> dict[str, Any] | None:
    """Noise scales by tensors and by loss; None for none."""
    if found is None:
        return None
    content = {
        "batch_size": found.batch_size,
        "arm": found.arm,
        "groups": {name: scale.record() for name, scale in found.groups.items()},
        "parts": {name: scale.record() for name, scale in found.parts.items()},
        "by_loss": loss_rows(found),
    }
    return dict(plain(content))


def loss_rows(found: "Breakdown") -> list[dict[str, float]]:
    """Noise scales by the training loss, one dictionary an interval of it."""
    names = ("loss", "estimate", "low", "high")
    columns = {name: found.by_loss[name].values.tolist() for name in names}
    return [dict(zip(columns, row, strict=True)) for row in _rows(columns)]


def critical_numbers(found: "CriticalBatch") -> dict[str, Any]:
    """A critical batch size."""
    return plain({**found.record(), "steps": dict(found.steps or {}), "notes": list(found.notes)})


def ladder_rows(found: "Sequence[Ladder]") -> list[dict[str, Any]]:
    """Ladders, each with its rungs."""
    return [
        plain({**asdict(ladder), "rungs": [_rung(rung) for rung in ladder.rungs]})
        for ladder in found
    ]


def _rung(rung: "Rung") -> dict[str, Any]:
    steps = {"over_before": rung.over_before, "over_baseline": rung.over_baseline}
    return {**asdict(rung), **{name: gain and _gain(gain) for name, gain in steps.items()}}


def _gain(gain: "Gain") -> dict[str, Any]:
    contrast = {
        "estimate": gain.interval.value,
        "low": gain.interval.low,
        "high": gain.interval.high,
        "error": gain.contrast.error,
        "freedom": gain.contrast.freedom,
        "count": gain.contrast.n,
    }
    rest = {"paired": gain.paired, "pooled": gain.pooled, "p_value": gain.p_value}
    return {"contrast": contrast, **rest}


def law_rows(found: "Sequence[ArmLaws]") -> list[dict[str, Any]]:
    """Laws compared, one dictionary an arm, those that survive first in each."""
    return [plain({**vars(arm), "laws": [_law(own) for own in arm.laws]}) for arm in found]


def _law(own: "LawFound") -> dict[str, Any]:
    told: dict[str, Any] = {"law": own.law, "survives": own.survives, "p_value": own.p_value}
    for name, off in (("decade", own.decade), ("half_decade", own.half_decade)):
        told |= {name: off.value, f"{name}_low": off.low, f"{name}_high": off.high}
    return told


def plan_numbers(found: "Plan") -> dict[str, Any]:
    """A plan."""
    told = {**vars(found.pilot), "noise": str(found.pilot.noise)}
    return plain(
        {
            "question": asdict(found.question),
            "pilot": {name: value for name, value in told.items() if name != "times"},
            "options": [{**asdict(one), "decades": one.decades} for one in found.options],
            "records": [asdict(one) for one in found.records],
            "batch_sizes": list(found.batch_sizes),
            "notes": list(found.notes),
            "advice": None if found.advice is None else _advised(found.advice),
        }
    )


def _advised(way: "Advice") -> dict[str, Any]:
    """The advised design, and the share of studies that each design would decide."""
    ahead = way.outlook
    present = dict(zip(("seeds", "last"), ahead.present, strict=True))
    design = {"seeds": way.seeds, "last": way.last} if way.seeds else None
    return {
        "present": present,
        "design": design,
        "chance": way.chance,
        "seeds": list(ahead.seeds),
        "lasts": list(ahead.lasts),
        "decided": ahead.decided.tolist(),
    }
