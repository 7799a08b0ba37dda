"""The runs of one study, with what every question asks of them, each found once and kept."""

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import xarray as xr
from markupsafe import Markup

from ultraslow.analysis.growth import Progress, fit_on, fit_totals
from ultraslow.analysis.intervals import SEEDS
from ultraslow.analysis.runs import (
    SUMMED_RATE,
    Arm,
    OddRun,
    Span,
    constant_rate,
    counted_in_words,
    draws,
    equal_sets,
    injected_noise,
    last_decade,
    odd_runs,
    rate_changes,
    relabelled_in_words,
    rungs_in_words,
    seeds,
    setting_differences,
    traits,
)
from ultraslow.analysis.runs.arms import arm, by_arm
from ultraslow.analysis.scores import has, metric_of, once
from ultraslow.diffusion.predictions import INSTEAD

from .text import number, plural, printable, sizes_in_words

Read = TypeVar("Read")

# What a recording has to hold, and how it comes to hold it.
SOURCES = {
    "distance_sq": "the distance of the weights",
    "loss_difference": "landscape scans: the loss along directions at several radii",
    "line_loss": "landscape scans: the loss on lines between checkpoints",
    "sketch": "the probe 'trajectory': a sketch of the weights at each record",
    "step_sq": "the probe 'path': squared lengths of the updates",
    "noise_trace": "the gradient noise",
    "learning_rate": "the learning rate",
    "learning_rate_sum": "the summed learning rate",
    "data_size": "the size of the training set, as `ultraslow label RUN data_size=…` adds it",
}


@dataclass(frozen=True)
class Missing:
    """Why nothing can be decided, and what would change that.

    Attributes:
        reason: why, in one sentence.
        needed: what would change it, an instruction without a full stop.
        have: how much of it there is.
        need: how much of it there has to be.
        unit: of both: "seeds", "decades", "checkpoints".
    """

    reason: str
    needed: str
    have: float = math.nan
    need: float = math.nan
    unit: str = ""


@dataclass(frozen=True)
class Sample:
    """What a verdict rests on.

    Attributes:
        runs: runs that entered.
        seeds: fewest seeds in an arm.
        batch_sizes: batch sizes M that entered, in order.
    """

    runs: int = 0
    seeds: int = 0
    batch_sizes: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Study:
    """Recordings that are asked the same questions, at one confidence level.

    Attributes:
        runs: recordings by node name.
        level: confidence level of all intervals.
        progress: called while growth is fitted, with the number of series fitted since the last
            call and of all.
        fitted: growth fits of the runs, and maybe of others, where they are at hand.
        whole: the study that these runs are a part of, which keeps their fits; None for a whole.
    """

    runs: dict[str, xr.Dataset]
    level: float = 0.95
    progress: Progress | None = None
    fitted: xr.Dataset | None = field(default=None, repr=False)
    whole: "Study | None" = field(default=None, repr=False)

    def __repr__(self) -> str:
        sizes = sizes_in_words(", ".join(map(str, self.batch_sizes)))
        seeds = plural(self.sample.seeds, "seed")
        return f"<Study of {plural(len(self.runs), 'run')}: {sizes}, {seeds} or more>"

    def _repr_html_(self) -> str:
        """A table of its arms for notebooks; nothing is fitted for it."""
        rows = [
            (
                str(arm),
                str(len(names)),
                str(self.seeds(arm)),
                number(max(float(self.runs[one]["iteration"][-1]) for one in names)),
            )
            for arm, names in self.arms.items()
        ]
        heads = ("arm", "runs", "seeds", "last iteration")
        lines = [_cells("th", heads), *(_cells("td", row) for row in rows)]
        return str(
            Markup("<table><caption>{}</caption>{}</table>").format(
                repr(self).strip("<>"), Markup("").join(lines)
            )
        )

    def part(self, names: Iterable[str]) -> "Study":
        """Some of the runs, in the order of their names here."""
        return Study({name: self.runs[name] for name in names}, self.level, whole=self._whole)

    def where(self, holds: Callable[[xr.Dataset], bool]) -> "Study":
        """The runs of which something holds."""
        return self.part(name for name, run in self.runs.items() if holds(run))

    def at(self, level: float) -> "Study":
        """The same runs at another confidence level; fits keep that of the whole."""
        return Study(self.runs, level, whole=self._whole)

    @property
    def _whole(self) -> "Study":
        return self.whole or self

    def each(self, reading: Callable[[xr.Dataset], Read]) -> dict[str, Read]:
        """What is read off each run; the whole keeps it, so that nothing is read twice.

        Arguments:
            reading: a function of one run, of a module: what is kept goes by the function.

        Returns:
            Its value by node name.
        """
        kept = self._whole._readings.setdefault(reading, {})
        for name, run in self.runs.items():
            if name not in kept:
                kept[name] = reading(run)
        return {name: kept[name] for name in self.runs}

    def found(self, finding: Callable[..., Read], *asked: Hashable) -> Read:
        """What a function finds of the study; it is kept, so that nothing is found twice.

        Arguments:
            finding: a function of a study and what is asked, of a module.
            asked: its further arguments.

        Returns:
            Its value.
        """
        key = (finding, *asked)
        if key not in self._found:
            self._found[key] = finding(self, *asked)
        return self._found[key]

    @cached_property
    def _found(self) -> dict[tuple[Hashable, ...], Any]:
        return {}

    @cached_property
    def _readings(self) -> dict[Callable[[xr.Dataset], Any], dict[str, Any]]:
        return {}

    @cached_property
    def fits(self) -> xr.Dataset:
        """Growth fits of the runs' total distances (`growth.fit_totals`)."""
        if self.whole is not None:
            return self.whole.fits.sel(node=list(self.runs))
        if self.fitted is not None:
            return self.fitted.sel(node=list(self.runs))
        return fit_totals(self.runs, level=self.level, progress=self.progress)

    @cached_property
    def rate_fits(self) -> xr.Dataset | None:
        """Growth fits against Ση of the runs whose rate changes (`growth.fit_on`); None for none.

        No prediction takes them: those on growth are about a constant rate.
        """
        changing = {name: self.runs[name] for name, so in self.each(rate_changes).items() if so}
        if not changing:
            return None
        return fit_on(changing, SUMMED_RATE, level=self.level, progress=self.progress)

    @cached_property
    def arms(self) -> dict[Arm, list[str]]:
        """Node names of the runs of each arm, in order of rule and batch size."""
        return by_arm(self.each(arm))

    @cached_property
    def batch_sizes(self) -> tuple[int, ...]:
        """Batch sizes M of the runs, in order."""
        return tuple(
            sorted({int(run.variables["batch_size"].values) for run in self.runs.values()})
        )

    @cached_property
    def sample(self) -> Sample:
        """Number of runs, fewest seeds of an arm, and batch sizes."""
        fewest = min(map(self.seeds, self.arms), default=0)
        return Sample(len(self.runs), fewest, self.batch_sizes)

    def seeds(self, arm: Arm) -> int:
        """Number of independent runs of an arm."""
        return seeds([self.runs[name] for name in self.arms[arm]])

    @cached_property
    def last_decade(self) -> Span:
        """The last decade of iterations that all runs recorded at a constant rate (1, 0: none)."""
        return last_decade(self.runs)

    @cached_property
    def ends_of_phase(self) -> dict[str, int]:
        """Where training sets are fitted, by node, of runs whose phase ends with it."""
        fitted = {name: one.fitted for name, one in self.each(constant_rate).items()}
        return {name: iteration for name, iteration in fitted.items() if iteration}

    def longer(self, until: float) -> str:
        """What to do for a longer phase: to train on, or a training set not fitted so soon.

        Arguments:
            until: the iteration that it should reach.

        Returns:
            An instruction, without a full stop.
        """
        first = min(self.ends_of_phase.values(), default=math.inf)
        if first < until:
            return (
                f"a larger training set, not fitted before iteration {number(until)}: this one is "
                f"by iteration {first}"
            )
        return f"training on at the same rate until iteration {number(until)}"

    @cached_property
    def distinct(self) -> "Study":
        """One run of each seed in each arm, without those that stopped early (`runs.draws`)."""
        return self.drawn(SEEDS)

    def drawn(self, enough: int) -> "Study":
        """As `distinct`, where so many seeds of an arm speak without those that ended early."""
        return self.part(draws(self.runs, enough=enough, known=self.each(traits)))

    @cached_property
    def odd(self) -> tuple[OddRun, ...]:
        """The runs whose distance is far from that of all other seeds of their arm."""
        return odd_runs(self.distinct.runs, self.distinct.each(traits))

    def of_arms(self, count: int = SEEDS) -> "Study":
        """The runs of arms of so many seeds, arm by arm."""
        full = [names for arm, names in self.arms.items() if self.seeds(arm) >= count]
        return self.part(name for names in full for name in names)

    @cached_property
    def metric(self) -> str:
        """What held-out scores of the runs are compared by; empty where there are none."""
        return metric_of(self._unheated.runs.values())

    @cached_property
    def scored(self) -> "Study":
        """The runs that evaluated the metric, copies once.

        Diverged runs have no finite value and are kept. Noise that was added to gradients changes
        what a batch size scores; such runs are left out.
        """
        held = self._unheated.where(lambda run: bool(self.metric) and has(run, self.metric))
        return held.part(once(held.runs))

    @cached_property
    def _unheated(self) -> "Study":
        return self.where(lambda run: injected_noise(run) == 0)

    @cached_property
    def unlike(self) -> Missing | None:
        """What the runs differ in that should be equal, and what to do; None for equals."""
        found = setting_differences(self.runs.values())
        if not found:
            return None
        return Missing(
            f"The runs differ in what they should share ({'; '.join(found)}).",
            "tests of the sets of equal runs apart, each with its own paths",
        )

    def comparable(self, *fields: str) -> tuple["Study", Missing | None]:
        """Runs that hold all the fields, one a seed, or what stands against comparing them.

        Arguments:
            fields: variables or coordinates that a run has to hold.

        Returns:
            The runs that can be used, and None or why there is nothing to compare.
        """
        # Of a seed that was run twice, the run that holds the fields speaks.
        kept = self.where(lambda run: _holds(run, fields)).distinct
        if not kept.runs:
            absent = _absent(self.distinct.runs.values(), fields)
            listed = " and ".join(SOURCES[name] for name in absent)
            apart = len(absent) > 1 and all(_recorded(self.runs, name) for name in absent)
            reason = f"No run recorded {', '.join(absent)}{' together' if apart else ''}."
            return self.distinct, Missing(reason, f"runs recorded with {listed}")
        return kept, kept.unlike

    @cached_property
    def sets(self) -> dict[str, "Study"]:
        """The sets of equal runs by name, each to be judged by itself (`runs.equal_sets`)."""
        return {found.name: self.part(found.nodes) for found in equal_sets(self.runs)}

    @cached_property
    def note(self) -> str:
        """In words, which runs verdicts are not about, and which of the others count once."""
        above = rungs_in_words(self.runs)
        told = [self._of_set(name, part) for name, part in self.sets.items()]
        relabelled = relabelled_in_words(self.runs, self.each(traits))
        return " ".join(filter(None, [above, *told, relabelled]))

    def _of_set(self, name: str, part: "Study") -> str:
        said = counted_in_words(part.runs, part.each(traits))
        return f"In the set {name}: {said}" if said and len(self.sets) > 1 else said


def _cells(kind: str, texts: Sequence[str]) -> Markup:
    """A row of a table; what runs are called may be anything."""
    cell = Markup(f"<{kind}>{{}}</{kind}>")
    cells = Markup("").join(cell.format(printable(text)) for text in texts)
    return Markup("<tr>{}</tr>").format(cells)


def _holds(run: xr.Dataset, fields: Sequence[str]) -> bool:
    """Whether a run holds each field, or what serves in its place."""
    wanted = [[name, INSTEAD[name]] if name in INSTEAD else [name] for name in fields]
    return all(any(one in run and _some_finite(run[one]) for one in ways) for ways in wanted)


def _some_finite(values: xr.DataArray) -> bool:
    return bool(np.isfinite(values.values).any()) if values.dtype.kind == "f" else values.size > 0


def _recorded(runs: dict[str, xr.Dataset], name: str) -> bool:
    return any(_holds(run, [name]) for run in runs.values())


def _absent(runs: Iterable[xr.Dataset], fields: Sequence[str]) -> list[str]:
    """Fields that no run holds; all of them where each run lacks another one."""
    known = list(runs)
    absent = [name for name in fields if not any(_holds(run, [name]) for run in known)]
    return absent or list(fields)
