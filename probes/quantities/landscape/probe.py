"""Landscape: the loss around the weights at chosen checkpoints of a run.

At each checkpoint the loss of fixed batches is measured along random directions of several kinds
(see `directions`) at fixed distances, and on the straight line from the checkpoint before. The
weights are moved and put back bit for bit (see `scan`). The weights of checkpoints are kept on
disk, so that a run that goes on draws its lines from them.

They lie in the live folder, as w0 does, one folder a checkpoint. Kept are the last two, as the
records of the last may not have been on disk when a run was stopped, and the one that the last
saved state of the recorder goes on from.
"""

import re
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ultraslow.diffusion._validation import count
from ultraslow.probes.buffer import Values, schedule_of
from ultraslow.probes.distributed import Processes, fail_together, local
from ultraslow.probes.norms import square, squared_distances
from ultraslow.probes.quantities import Quantity, Subject
from ultraslow.probes.storage import initial

from .batches import Batches, Loss, refuse_hooks
from .directions import Ensemble, filter_normalized, isotropic, trajectory
from .scale_invariance import scale_invariant_tensors
from .scan import DirectionScan, Mode, scan

_KEPT = 2


class CheckpointWeights:
    """Saves weights by iteration and reads them back."""

    def __init__(
        self, folder: Path, parameters: Mapping[str, Tensor], processes: Processes
    ) -> None:
        """Remember where.

        Arguments:
            folder: the live folder.
            parameters: of the model, by name.
            processes: that train together.
        """
        self._folder = folder
        self._parameters = parameters
        self._processes = processes
        self._latest = self._held = -1
        self._failed = False

    def keep(self, iteration: int) -> None:
        """Save the present weights, and let go of those that are no longer needed.

        A disk that refuses is warned of once.
        """
        part = initial.own_part(list(self._parameters.values()), self._processes)
        self._latest = iteration
        try:
            if part.saves:
                initial.save_part(self._at(iteration), part, self._parameters)
            if self._processes.writes:
                self._let_go(iteration)
        except OSError as error:
            with suppress(OSError):
                self._at(iteration).rmdir()  # nothing was saved in it
            if not self._failed:
                warnings.warn(
                    f"recording {self._folder}: the weights of the landscape's checkpoint could "
                    f"not be saved, a run that goes on will lack the line from it ({error})",
                    RuntimeWarning,
                    stacklevel=2,
                )
            self._failed = True

    def hold(self) -> None:
        """A state of the recorder is saved that goes on from the last checkpoint."""
        self._held = self._latest

    def read(self, iteration: int) -> list[Tensor]:
        """This process's part of the weights at a checkpoint; all processes call it.

        Raises:
            OSError, ValueError: when they cannot be read, here or on another process.
        """
        into = [torch.empty_like(local(p)).detach() for p in self._parameters.values()]
        fail_together(
            self._processes,
            lambda: initial.load_weights(self._at(iteration), self._parameters, into),
            device=into[0].device,
            elsewhere=lambda: OSError("another process cannot read them"),
        )
        self._latest = self._held = iteration
        return into

    def clear(self, *, beyond: int) -> None:
        """Remove the weights after an iteration: another run's, or of what is trained again.

        Parts that another sharding saved would otherwise lie among those of the new one.
        """
        if self._processes.writes:
            for iteration, folder in self._known().items():
                if iteration > beyond:
                    _remove(folder)

    def _at(self, iteration: int) -> Path:
        return self._folder / f"checkpoint-{iteration:012d}"

    def _known(self) -> dict[int, Path]:
        return {
            int(found.group(1)): path
            for path in self._folder.glob("checkpoint-*")
            if (found := re.fullmatch(r"checkpoint-(\d{12})", path.name))
        }

    def _let_go(self, last: int) -> None:
        known = self._known()
        passed = sorted(iteration for iteration in known if iteration <= last)
        stay = {*passed[-_KEPT:], self._held}
        for iteration in known.keys() - stay:
            _remove(known[iteration])


def _remove(folder: Path) -> None:
    """Remove saved weights, and their folder where it holds nothing else."""
    with suppress(OSError):
        for file in (*initial.weight_files(folder), *folder.glob(".*.tmp")):
            file.unlink(missing_ok=True)
        folder.rmdir()


ENSEMBLES = ("isotropic", "filter", "noise", "trajectory")
# Distances beside ‖w0‖: from where a loss is still a parabola to as far as weights travel.
_RADII = np.logspace(-3, 0, 10)
_FRACTIONS = np.linspace(0.0, 1.0, 11)
# A step that rounding of the weights changes by more than this is not the step that was asked for.
_ROUNDED = 0.05


@dataclass(frozen=True)
class Landscape:
    """Where, when and how the loss around the weights is measured.

    A checkpoint costs, on each process, `len(batches)` backward passes and about
    `len(ensembles)·directions·len(radii)·len(batches)` forward passes, and a copy of the weights
    is kept until the next; on disk there are those of the last checkpoints.

    Arguments:
        loss: from the model and a batch to the mean loss of the batch. It must not communicate
            with other processes; it gets the module within DistributedDataParallel. With weights
            sharded by `fully_shard` it must not fail on one process alone before its forward pass
            is over: the others wait in that pass.
        batches: fixed batches, two or more, of one size; each process may have its own. The loss
            is their mean; the differences of their gradients shape the noise directions.
        schedule: iterations of the checkpoints.
        radii: distances r; ten from ‖w0‖/1000 to ‖w0‖ when None.
        directions: number of directions of each kind.
        ensembles: kinds of directions, of `ENSEMBLES`. Of trajectory directions there are at most
            two: from w0 and from the checkpoint before. Of sharded weights `noise` costs a
            backward pass of each batch for each direction.
        mode: of the model. In `train`, batch normalization uses the statistics of the batch.
        seed: of the directions, the same on every process.
    """

    loss: Loss
    batches: Sequence[Any]
    schedule: Sequence[int]
    radii: Sequence[float] | None = None
    directions: int = 8
    ensembles: Sequence[str] = ENSEMBLES
    mode: Mode = "train"
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be measured.

        Raises:
            ValueError: naming the argument, what was found and what was expected.
        """
        schedule_of(self.schedule)
        if len(self.batches) < 2:
            raise ValueError(f"batches: found {len(self.batches)}, expected 2 or more")
        unknown = sorted(set(self.ensembles) - set(ENSEMBLES))
        if unknown or not self.ensembles or len(set(self.ensembles)) < len(self.ensembles):
            raise ValueError(
                f"ensembles: found {list(self.ensembles)}, expected names of {list(ENSEMBLES)}"
            )
        count(self.directions, "directions")
        radii = np.asarray([1.0] if self.radii is None else self.radii, dtype=np.float64)
        if radii.ndim != 1 or not radii.size or not np.all((radii > 0) & np.isfinite(radii)):
            raise ValueError(f"radii: found {self.radii}, expected positive distances")
        if np.any(np.diff(radii) <= 0):
            raise ValueError(f"radii: found {self.radii}, expected increasing distances")


class LandscapeProbe(Quantity):
    """Measures the landscape of one run."""

    fields = ("loss_difference", "center_loss", "difference_noise", "line_loss")
    called = "landscape probe"

    def __init__(self, subject: Subject, settings: Landscape) -> None:
        """Keep what is measured against.

        Arguments:
            subject: what is measured; its w0 may be filled later, before the first measurement.
            settings: what to measure.

        Raises:
            ValueError: for noise directions of sharded weights with hooks on their gradients.
        """
        super().__init__(subject, settings)
        self.schedule = schedule_of(settings.schedule)
        self._parameters = list(subject.parameters.values())
        self._batches = Batches(
            settings.loss,
            settings.batches,
            subject.module,
            settings.mode == "train",
            self._parameters,
            subject.processes,
        )
        if "noise" in settings.ensembles and self._batches.sharded:
            refuse_hooks(self._parameters)
        self._landscape = settings
        self._initial = [cast(Tensor, w0) for w0 in subject.initial]  # see `attach`
        self._processes = subject.processes
        self._checkpoints = sorted(self.schedule.iterations)
        self._earlier: list[Tensor] = []  # weights at the last checkpoint after iteration 0
        self._kept: CheckpointWeights | None = None  # the same on disk

    def attributes(self) -> dict[str, str]:
        """The mode, and where the radii come from."""
        radii = "of the initial weights" if self._landscape.radii is None else "given"
        return {"landscape_mode": self._landscape.mode, "landscape_radii": radii}

    def begin(self, folder: Path, iteration: int, *, resumed: bool) -> dict[str, str]:
        """Read the weights at the checkpoint before; where they are lost, say so."""
        self._kept = CheckpointWeights(folder, self.subject.parameters, self._processes)
        self._kept.clear(beyond=iteration if resumed else -1)
        passed = max((at for at in self._checkpoints if at <= iteration), default=0)
        try:
            self._earlier = self._kept.read(passed) if passed else []
        except Exception as error:
            lost = f"the weights of iteration {passed} could not be read: {error}"
            warnings.warn(
                f"recording {folder}: its next checkpoint has no line from the one before: {lost}",
                RuntimeWarning,
                stacklevel=4,
            )
            return {"line_loss_absent": f"after iteration {iteration}: {lost}"}
        return {}

    def hold(self) -> None:
        """A state of the recorder is saved: a run may go on from here."""
        if self._kept is not None:
            self._kept.hold()

    def stop(self) -> None:
        """Let go of the weights at the checkpoint before."""
        self._earlier = []

    def axes(self) -> dict[str, Any]:
        """Axes of what is measured, and which tensors are scale-invariant."""
        landscape = self._landscape
        return {
            "ensemble": list(landscape.ensembles),
            "direction": np.arange(landscape.directions),
            "radius": self._radii(),
            "fraction": _FRACTIONS,
            **self._scale_invariant(),
        }

    def nothing(self) -> dict[str, NDArray[np.float64]]:
        """The fields at a record that is no checkpoint: NaN. It does not wait for the device."""
        given, kinds = self._landscape.radii, len(self._landscape.ensembles)
        shape = (kinds, len(_RADII if given is None else given), self._landscape.directions)
        return {
            "loss_difference": np.full(shape, np.nan),
            "center_loss": np.full(kinds, np.nan),
            "difference_noise": np.full(kinds, np.nan),
            "line_loss": np.full(len(_FRACTIONS), np.nan),
        }

    def snapshot(self, iteration: int) -> Values:
        """Measure at this iteration; all processes call it.

        The line to the checkpoint before is NaN at iteration 0, and where a resumed run has lost
        that checkpoint.
        """
        before, radii = self._before(iteration), self._radii()
        fields = self.nothing()
        for place, name in enumerate(self._landscape.ensembles):
            ensemble = self._ensemble(name, before)
            if ensemble is not None:
                seed = [self._landscape.seed, iteration, ENSEMBLES.index(name)]
                _enter(fields, place, self._scan(ensemble, radii, seed))
        if before is not None and iteration:
            fields["line_loss"] = self._line(before)
        if iteration:
            self._earlier = [w.clone() for w in self.subject.weights()]
            if self._kept is not None:
                self._kept.keep(iteration)
        return fields

    def _before(self, iteration: int) -> Sequence[Tensor] | None:
        """Weights at the checkpoint before, w0 for the first; None where they were lost."""
        if self._earlier:
            return self._earlier
        passed = any(0 < checkpoint < iteration for checkpoint in self._checkpoints)
        return None if passed else self._initial

    def _ensemble(self, name: str, before: Sequence[Tensor] | None) -> Ensemble | None:
        match name:
            case "isotropic":
                return isotropic(self._parameters)
            case "filter":
                return filter_normalized(self._parameters)
            case "noise":
                return self._batches.noise()
        others = [] if before is None or before is self._initial else [before]
        moved = [w for w in (self._initial, *others) if self._distance(w) > 0]
        return trajectory(self._parameters, moved) if moved else None

    def _scan(
        self, ensemble: Ensemble, radii: NDArray[np.float64], seed: list[int]
    ) -> DirectionScan:
        limit = ensemble.limit or self._landscape.directions
        return scan(
            self.subject.module,
            self._loss,
            ensemble,
            radii=radii.tolist(),
            directions=min(self._landscape.directions, limit),
            generator=_generator(seed),
            mode=self._landscape.mode,
            processes=self._processes,
        )

    def _line(self, before: Sequence[Tensor]) -> NDArray[np.float64]:
        """Losses from the weights before, fraction 0, to those of now, fraction 1."""
        length = self._distance(before)
        if not length > 0:
            return np.full(len(_FRACTIONS), np.nan)
        way = trajectory(self._parameters, [before])
        found = self._scan(way, -(1 - _FRACTIONS[:-1]) * length, [0])
        return found.loss + np.append(found.difference[:, 0], 0.0)

    def _loss(self) -> Tensor:
        return self._batches.losses().mean()

    def _scale_invariant(self) -> dict[str, NDArray[np.int64]]:
        """Which tensors are; nothing, with a warning, where the loss does not tell."""
        try:
            found = scale_invariant_tensors(
                self.subject.module,
                self._batches.losses,
                generator=_generator([0]),
                processes=self._processes,
            )
        except Exception as error:
            text = f"landscape: which tensors are scale-invariant is not recorded: {error!r}"
            warnings.warn(text, RuntimeWarning, stacklevel=4)
            return {}
        return {"scale_invariant": np.array(list(found.values()), dtype=np.int64)}

    def _radii(self) -> NDArray[np.float64]:
        if self._landscape.radii is not None:
            return np.asarray(self._landscape.radii, dtype=np.float64)
        norm_sq = torch.stack([square(w) for w in self._initial]).sum()
        return _RADII * float(self._processes.add_parts(norm_sq)) ** 0.5

    def _distance(self, weights: Sequence[Tensor]) -> float:
        part_sq = squared_distances(self.subject.weights(), weights)[0].sum()
        return float(self._processes.add_parts(part_sq).sqrt())


def _generator(seed: Sequence[int]) -> torch.Generator:
    state = np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> 1))


def _enter(fields: dict[str, NDArray[np.float64]], place: int, found: DirectionScan) -> None:
    """Put a scan in its place; a step that rounding spoilt leaves no difference."""
    wrong = np.abs(found.distance / found.radius[:, None] - 1) > _ROUNDED
    count = found.difference.shape[1]
    fields["loss_difference"][place, :, :count] = np.where(wrong, np.nan, found.difference)
    fields["center_loss"][place] = found.loss
    fields["difference_noise"][place] = found.noise_floor
