"""From raw sums of updates to the window means of records.

The device side of a probe only appends numbers. This module turns a batch of them, already summed
over processes and copied to the host in one piece, into records: the formulas are those of
`diffusion.noise` and `diffusion.moments`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ultraslow.diffusion.moments import Moments, add_rows, extend, nothing
from ultraslow.diffusion.noise import unit_estimates

Array = NDArray[np.float64]
Record = dict[str, float | int | Array]
Values = Mapping[str, Tensor | float | int | Array]


@dataclass(frozen=True)
class Snapshot:
    """What was measured at one iteration, and the host's clocks in seconds when it began.

    Arguments:
        iteration: when.
        values: by field. A tensor is this process's part and waits on the device for a flush,
            which leaves the sum over processes in its place; an array is there already.
        wall_time: since attaching.
        probe_seconds: spent in probes since attaching.
    """

    iteration: int
    values: Values
    wall_time: float
    probe_seconds: float

    def array(self, name: str) -> Array:
        """A value that a flush has brought to the host."""
        return np.asarray(self.values[name], dtype=np.float64)


@dataclass(frozen=True)
class Updates:
    """Raw sums of consecutive updates, over all processes.

    Arguments:
        unit_sq: S, squared norms of unit contributions summed over units `(update, tensor)`.
        total_sq: Big, squared norm of the reduced gradient `(update, tensor)`.
        units: number of units `(update,)`; NaN where the probe failed on a process.
        sums: what is known of the units `(update, column)`, in the columns of `UnitShares`.
        share: sum of unit weights `(update,)`; this and the next four as `Judge` finds them.
        u: sum of squared unit weights `(update,)`.
        v: sum of squared unit weights over unit sizes `(update,)`, per sample.
        samples: samples consumed `(update,)`.
        left_out: whether it is left out of the noise, as these are not known `(update,)`.
        loss: mean of the finite losses observed `(update,)`; NaN where none was.
        nonfinite_losses: inf or NaN losses observed `(update,)`.
        learning_rate: learning rate used `(update,)`.
        clip_factor: what clipping multiplied the gradient by `(update,)`; NaN where unknown.
        uneven_clipping: whether it multiplied tensors by several factors `(update,)`.
        loss_scale: of mixed precision `(update,)`; NaN where there is none.
        skipped: steps skipped before each update `(update,)`.
    """

    unit_sq: Array
    total_sq: Array
    units: Array
    sums: Array
    share: Array
    u: Array
    v: Array
    samples: Array
    left_out: NDArray[np.bool_]
    loss: Array
    nonfinite_losses: Array
    learning_rate: Array
    clip_factor: Array
    uneven_clipping: NDArray[np.bool_]
    loss_scale: Array
    skipped: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.units)

    @property
    def unknown(self) -> bool:
        """Whether the noise probe failed on some process."""
        return bool(np.isnan(self.units).any())

    @property
    def unseen(self) -> NDArray[np.bool_]:
        """Those left out whose gradient is not known, let alone whether it is finite."""
        found: NDArray[np.bool_] = self.left_out & np.isnan(self.total_sq).all(axis=1)
        return found

    def part(self, start: int, stop: int) -> "Updates":
        """The updates from position `start` up to `stop`."""
        return Updates(**{name: value[start:stop] for name, value in vars(self).items()})


@dataclass(frozen=True)
class Window:
    """What is kept of the updates since the last record, and the sums since iteration 0.

    Arguments:
        noise: sums of |G|² and tr Σ estimates over `totals.count` updates `(2, tensor)`.
        mean_sq: sum of Big over `gradients` updates `(tensor,)`.
        totals: moments of the total estimates of |G|² and tr Σ.
        loss: moments of the loss.
        sizes: moments of the number of units and of the unit size.
        clip_factor: moments of the clip factor.
        loss_scale: moments of the loss scale.
        skipped: steps skipped by mixed precision.
        left_out: updates left out of the noise, as what their units hold is not known.
        gradients: updates with a finite gradient.
        nonfinite_gradients: updates without, of those that were seen.
        nonfinite_losses: updates with an inf or NaN loss.
        learning_rate: of the last update.
        learning_rate_sum: since iteration 0.
        samples: since iteration 0.
    """

    noise: Array
    mean_sq: Array
    totals: Moments
    loss: Moments
    sizes: Moments
    clip_factor: Moments
    loss_scale: Moments
    skipped: int
    left_out: int
    gradients: int
    nonfinite_gradients: int
    nonfinite_losses: int
    learning_rate: float
    learning_rate_sum: float
    samples: float

    def extend(self, updates: Updates) -> "Window":
        """This window with more updates, the same to the last bit however they are cut up."""
        if len(updates) == 0:
            return self
        noise, totals, finite = _estimates(updates)
        seen = (updates.units > 0) & ~updates.unseen  # by a probe that had not failed
        return Window(
            noise=add_rows(self.noise, noise),
            mean_sq=add_rows(self.mean_sq, updates.total_sq[finite]),
            totals=extend(self.totals, totals),
            loss=extend(self.loss, updates.loss[:, None]),
            sizes=extend(self.sizes, _sizes(updates)),
            clip_factor=extend(self.clip_factor, updates.clip_factor[:, None]),
            loss_scale=extend(self.loss_scale, updates.loss_scale[:, None]),
            skipped=self.skipped + int(updates.skipped.sum()),
            left_out=self.left_out + int(updates.left_out.sum()),
            gradients=self.gradients + int(finite.sum()),
            nonfinite_gradients=self.nonfinite_gradients + int((seen & ~finite).sum()),
            nonfinite_losses=self.nonfinite_losses + int(np.sum(updates.nonfinite_losses > 0)),
            learning_rate=float(updates.learning_rate[-1]),
            learning_rate_sum=float(add_rows(self.learning_rate_sum, updates.learning_rate)),
            samples=float(add_rows(self.samples, updates.samples)),
        )

    def next(self) -> "Window":
        """The window after a record: means start anew, sums since iteration 0 go on."""
        return replace(
            empty_window(len(self.mean_sq), self.learning_rate),
            learning_rate_sum=self.learning_rate_sum,
            samples=self.samples,
        )

    def fields(self) -> Record:
        """Values of the record that closes this window, by field name."""
        gradient_sq, noise_trace = _mean(self.noise, self.totals.count)
        units, unit_size = _known(self.sizes)
        covariance = self.totals.covariance
        return {
            "gradient_sq": gradient_sq,
            "noise_trace": noise_trace,
            "mean_sq": _mean(self.mean_sq, self.gradients),
            "gradient_sq_var": covariance[0, 0],
            "noise_trace_var": covariance[1, 1],
            "gradient_noise_cov": covariance[0, 1],
            "units": units,
            "unit_size": unit_size,
            "noise_updates": self.totals.count,
            "noise_left_out": self.left_out,
            "nonfinite_gradients": self.nonfinite_gradients,
            "loss": _known(self.loss)[0],
            "loss_var": self.loss.covariance[0, 0],
            "loss_updates": self.loss.count,
            "nonfinite_losses": self.nonfinite_losses,
            "learning_rate": self.learning_rate,
            "learning_rate_sum": self.learning_rate_sum,
            "samples": self.samples,
            "clip_factor": _known(self.clip_factor)[0],
            "loss_scale": _known(self.loss_scale)[0],
            "skipped": self.skipped,
        }


def empty_window(tensors: int, learning_rate: float) -> Window:
    """The window before the first update of a run with so many tensors."""
    return Window(
        noise=np.zeros((2, tensors)),
        mean_sq=np.zeros(tensors),
        totals=nothing(2),
        loss=nothing(1),
        sizes=nothing(2),
        clip_factor=nothing(1),
        loss_scale=nothing(1),
        skipped=0,
        left_out=0,
        gradients=0,
        nonfinite_gradients=0,
        nonfinite_losses=0,
        learning_rate=learning_rate,
        learning_rate_sum=0.0,
        samples=0.0,
    )


def _estimates(updates: Updates) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Estimates `(update, 2, tensor)`, their totals `(update, 2)`, which gradients are finite.

    An update of one unit has a gradient but no noise estimate; it is left out of the first two
    only.
    """
    squares = np.hstack([updates.unit_sq, updates.total_sq])
    finite: NDArray[np.bool_] = np.all(np.isfinite(squares), axis=1)
    u, v, share = updates.u[:, None], updates.v[:, None], updates.share[:, None]
    with np.errstate(invalid="ignore"):  # inf − inf of an update that is left out below
        estimates = unit_estimates(updates.unit_sq, updates.total_sq, u, v, share=share)
    pair = np.stack([estimates.gradient_sq, estimates.noise_trace], axis=1)
    totals = pair.sum(axis=2)
    used = finite & np.isfinite(totals).all(axis=1)
    return pair[used], totals[used], finite


def _sizes(updates: Updates) -> Array:
    units = np.where(updates.units > 0, updates.units, np.nan)
    return np.stack([units, updates.samples / units], axis=1)


def _mean(total: Array, count: int) -> Array:
    return total / count if count else np.full_like(total, np.nan)


def _known(window: Moments) -> Array:
    return window.mean if window.count else np.full_like(window.mean, np.nan)


def stacked(records: Sequence[Record]) -> dict[str, Array]:
    """Records, each from field name to value, as arrays along the iteration dimension."""
    return {name: np.stack([np.asarray(row[name]) for row in records]) for name in records[0]}


def records_of(
    window: Window,
    updates: Updates,
    snapshots: Sequence[Snapshot],
    *,
    start: int,
    initial_sq: Array,
) -> tuple[list[Record], Window]:
    """Cut updates into windows that end at the snapshots.

    Arguments:
        window: what was left open before.
        updates: consecutive updates, the first of which is iteration `start` + 1.
        snapshots: on the host, at increasing iterations covered by the updates.
        start: last iteration before the updates.
        initial_sq: ‖w0‖² `(tensor,)`.

    Returns:
        One record a snapshot, and the window left open.
    """
    records, position = [], 0
    for at in snapshots:
        window = window.extend(updates.part(position, at.iteration - start))
        position = at.iteration - start
        records.append({**_weight_fields(at, initial_sq), **window.fields()})
        window = window.next()
    return records, window.extend(updates.part(position, len(updates)))


def _weight_fields(at: Snapshot, initial_sq: Array) -> Record:
    distance_sq, weight_sq = at.array("distance_sq"), at.array("weight_sq")
    # ‖w − w0‖² = ‖w‖² + ‖w0‖² − 2⟨w, w0⟩. Solved for the inner product it loses no digits against
    # ‖w‖².
    with np.errstate(invalid="ignore"):  # of weights that are not finite
        overlap = 0.5 * (weight_sq + initial_sq - distance_sq)
    return {
        **{name: at.array(name) for name in at.values},
        "iteration": at.iteration,
        "overlap": overlap,
        "wall_time": at.wall_time,
        "probe_seconds": at.probe_seconds,
    }
