"""Simulated runs as recordings, with the truth in their attributes.

`recording` runs a simulator at an arm and packs the result as a training run's probes would, so
that whatever reads runs can be tried on motion that is understood.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ultraslow.diffusion._validation import count
from ultraslow.diffusion.laws import law_named
from ultraslow.diffusion.noise import estimate_covariance
from ultraslow.diffusion.recording import log_spaced, nearest, pack
from ultraslow.diffusion.scaling import noise_factor

from .simulators import (
    DriftingWalk,
    FieldWalk,
    LawCurve,
    LineWalk,
    NoisyQuadratic,
    ScaleInvariant,
    Separable,
    Setup,
    Simulator,
    Track,
)

Array = NDArray[np.float64]

# From the word on the command line to the simulator with its usual settings.
KINDS: dict[str, Simulator] = {
    "field": FieldWalk(),
    "line": LineWalk(),
    "quadratic": NoisyQuadratic(),
    "scale-invariant": ScaleInvariant(),
    "separable": Separable(),
    "drift": DriftingWalk(),
    "law": LawCurve(),
}

# Units whose gradients a simulated noise measurement compares.
_UNITS = 8


def simulator(kind: str, settings: Mapping[str, Any] | None = None) -> Simulator:
    """The simulator of a kind, with some settings changed.

    Arguments:
        kind: one of `KINDS`.
        settings: from setting to value; text is read as the setting's type.

    Returns:
        The simulator.

    Raises:
        ValueError: for an unknown kind or setting, or text that is no such value.

    >>> simulator("separable", {"margin": "1.5", "dimension": 3})
    Separable(margin=1.5, dimension=3, spread=1.0)
    """
    if kind not in KINDS:
        kinds, near = ", ".join(sorted(KINDS)), nearest(kind, KINDS)
        raise ValueError(f"kind: found {kind!r}{near}, expected one of {kinds}")
    usual = cast(Any, KINDS[kind])
    known = [setting.name for setting in fields(usual)]
    unknown = sorted(set(settings or {}) - set(known))
    if unknown:
        raise ValueError(f"settings of {kind}: found {unknown}, expected some of {known}")
    changed = {
        name: _read(name, value, getattr(usual, name)) for name, value in (settings or {}).items()
    }
    return cast(Simulator, replace(usual, **changed))


def recording(kind: Simulator, arm: Setup, iterations: int, *, per_decade: int = 25) -> dict:
    """One simulated run in the dictionary form of a recording.

    Arguments:
        kind: the simulator.
        arm: batch size, learning rate and seed.
        iterations: last iteration.
        per_decade: records per factor of ten in t.

    Returns:
        What `xarray.Dataset.from_dict` takes. Attribute `simulator` names the kind, `truth` holds
        its settings, the arm and the learning rate as JSON.

    Raises:
        ValueError: when a setting is out of range.

    >>> packed = recording(DriftingWalk(), Setup(batch_size=32), 100)
    >>> packed["attrs"]["simulator"], packed["data_vars"]["distance_sq"]["data"].shape
    ('DriftingWalk', (37, 1))
    """
    count(iterations, "iterations")
    records = log_spaced(iterations, per_decade=count(per_decade, "per_decade"))
    track = kind.track(arm, records)
    values = {
        **_motion(track, records),
        **_training(arm, records),
        **_noise(track, arm, records),
        **_labels(kind, arm),
    }
    if track.loss is not None:
        values["loss"] = track.loss
    truth = json.dumps(_truth(kind, arm), default=_plain)
    attrs = {"simulator": type(kind).__name__, "truth": truth}
    return pack(values, attrs)


def simulated_recordings(
    kind: Simulator,
    *,
    batch_sizes: Sequence[int],
    seeds: Sequence[int],
    iterations: int,
    base: Setup | None = None,
) -> dict[str, dict]:
    """A set of simulated runs, one for each batch size and seed.

    Arguments:
        kind: the simulator.
        batch_sizes: M of the arms, samples.
        seeds: seeds of each arm.
        iterations: last iteration of every run.
        base: what the arms share; its batch size and seed are replaced.

    Returns:
        From run name to packed recording.

    Raises:
        ValueError: without a batch size or seed, or when a setting is out of range.
    """
    if not batch_sizes or not seeds:
        raise ValueError(
            f"batch_sizes, seeds: found {list(batch_sizes)}, {list(seeds)}, expected one or more"
        )
    base = base or Setup(base_batch_size=min(batch_sizes))
    arms = [replace(base, batch_size=m, seed=s) for m in batch_sizes for s in seeds]
    packed = [recording(kind, arm, iterations) for arm in arms]
    return {str(one["coords"]["run"]["data"]): one for one in packed}


def _truth(kind: Simulator, arm: Setup) -> dict[str, Any]:
    truth = {**asdict(cast(Any, kind)), **asdict(arm), "learning_rate": arm.rate}
    if isinstance(kind, LawCurve):
        truth["parameters"] = law_named(kind.law).completed(kind.parameters)
    return truth


def _motion(track: Track, records: NDArray[np.int64]) -> dict[str, Any]:
    return {
        "iteration": records,
        "tensor": ["weights"],
        "tensor_size": [track.weights],
        "distance_sq": track.distance_sq[:, None],
        "weight_sq": track.weight_sq[:, None],
        "overlap": track.overlap[:, None],
    }


def _training(arm: Setup, records: NDArray[np.int64]) -> dict[str, Any]:
    values: dict[str, Any] = {
        "learning_rate": np.full(len(records), arm.rate),
        "learning_rate_sum": arm.rate * records,
        "samples": arm.batch_size * records,
    }
    if arm.data_size:
        values["epoch"] = arm.batch_size * records / arm.data_size
        values["data_size"] = arm.data_size
    return values


def _labels(kind: Simulator, arm: Setup) -> dict[str, Any]:
    """What runs are grouped by, as far as the simulator has such a thing."""
    name = type(kind).__name__
    settings = asdict(cast(Any, kind))
    kept: dict[str, Any] = {
        key: settings[key] for key in ("momentum", "weight_decay") if key in settings
    }
    if not isinstance(kind, LineWalk | LawCurve):  # those are no descent
        kept["optimizer"] = "sgd"
    return {
        "run": f"{name}-{arm.scaling}-b{arm.batch_size}-s{arm.seed}",
        "batch_size": arm.batch_size,
        "world_size": 1,
        "base_learning_rate": arm.rate,
        "scaling": arm.scaling,
        "seed": arm.seed,
        "model": name,
        "data": "simulated",
        **kept,
    }


def _noise(track: Track, arm: Setup, records: NDArray[np.int64]) -> dict[str, Any]:
    """Noise estimates as probes would measure them, with the errors that isotropic noise gives.

    The window mean of |G|² is taken to be its value at the record.
    """
    if track.gradient_sq is None or track.noise_trace <= 0 or arm.batch_size < _UNITS:
        return {}
    updates = np.diff(records, prepend=0)
    rng = np.random.default_rng([arm.seed, 2, arm.batch_size])
    pairs = [
        _estimates(float(g), track, arm, updates=int(n), rng=rng)
        for g, n in zip(track.gradient_sq, updates, strict=True)
    ]
    g, s = np.array(pairs).T
    return {
        "gradient_sq": g[:, None],
        "noise_trace": s[:, None],
        "mean_sq": (g + s * noise_factor(arm.batch_size, arm.data_size or None))[:, None],
        "units": np.where(updates > 0, float(_UNITS), np.nan),
        "unit_size": np.where(updates > 0, arm.batch_size / _UNITS, np.nan),
        "noise_updates": updates,
    }


def _estimates(
    gradient_sq: float, track: Track, arm: Setup, *, updates: int, rng: np.random.Generator
) -> tuple[float, float]:
    if updates == 0:
        return np.nan, np.nan
    variance = track.noise_trace / track.weights
    one = estimate_covariance(
        np.full(_UNITS, 1 / _UNITS),
        np.full(_UNITS, arm.batch_size / _UNITS),
        projected_noise=variance * gradient_sq,
        noise_sq_trace=variance**2 * track.weights,
    )
    covariance = np.array(
        [[one.gradient_sq_var, one.covariance], [one.covariance, one.noise_trace_var]]
    )
    scatter = np.linalg.cholesky(covariance / updates) @ rng.standard_normal(2)
    return gradient_sq + float(scatter[0]), track.noise_trace + float(scatter[1])


def _read(name: str, value: Any, usual: Any) -> Any:
    if not isinstance(value, str) or isinstance(usual, str):
        return value
    try:
        return json.loads(value) if isinstance(usual, Mapping) else type(usual)(value)
    except ValueError as error:
        raise ValueError(f"{name}: found {value!r}, expected a value like {usual}") from error


def _plain(value: Any) -> Any:
    return np.asarray(value).tolist()
