"""P5: on a fixed landscape the log-slope goes like T^(2/α), with the temperature T ∝ η/M.

Within a seed, ln of the log-slope is a line in ln T over the arms; its slope is one number a seed.
Arms are compared at equal learning rates where some there differ enough in temperature: weights
that drift move ∝ η as well, so that a temperature which goes with the rate shows the power of the
rate, and supports nothing.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr

from ultraslow.analysis.growth import DECADES
from ultraslow.analysis.intervals import (
    CONTRADICTED,
    SEEDS,
    SUPPORTED,
    UNDECIDABLE,
    Interval,
    t_interval,
)
from ultraslow.analysis.predictions.evidence import left_out, more_seeds, most_seen, over
from ultraslow.analysis.predictions.means import Measure, Zone
from ultraslow.analysis.predictions.verdict import Verdict, question
from ultraslow.analysis.runs import (
    Span,
    by_seed,
    constant_rate,
    injected_noise,
    label,
    measured_temperature,
    positive_slope,
    rate_over_size,
    whole_batch,
)
from ultraslow.analysis.study import Missing, Study
from ultraslow.analysis.text import number, plural

from .closure import landscape_exponent
from .roughness import scans_of

EFFECT = "exponent x of the log-slope ∝ T^x"
# Exponents of simulated walkers stay a quarter below 2/α over three decades; only departures
# beyond a factor of 1.5 speak against the claim.
FACTOR = 1.5
# Temperatures that differ by less do not spread ln T enough to see a power.
RANGE = 3.0
# α ≤ 2 for any self-affine landscape, so that 2/α is 1 at least, measured or not.
_LEAST = 1.0
# Rates as far apart count as equal.
_EQUAL = 1.02
MEASURED = "temperature from the measured gradient noise"
PROPORTIONAL = "temperature taken ∝ η/M, as not every run recorded its gradient noise"


@dataclass(frozen=True)
class _Grid:
    """Arms of several temperatures that have the same seeds.

    Attributes:
        study: their runs.
        heats: temperature of each run.
        span: the last decade that all of them have.
        how: where the temperatures are from.
    """

    study: Study
    heats: Mapping[str, float]
    span: Span
    how: str

    @property
    def apart(self) -> float:
        """Factor between the highest and the lowest temperature."""
        return self._apart(self.study.runs)

    @property
    def at_equal_rates(self) -> list[list[str]]:
        """Runs of each learning rate, of rates at which temperatures differ enough; or none."""
        rates = sorted((arm.rate, names) for arm, names in self.study.arms.items() if arm.rate > 0)
        groups: list[list[str]] = []
        last = 0.0
        for rate, names in rates:
            groups = [*groups, []] if rate > _EQUAL * last else groups
            groups[-1].extend(names)
            last = rate
        apart = [self._apart(names) for names in groups]
        enough = max(apart, default=1.0) >= RANGE
        several = [names for names in groups if len(self.study.part(names).arms) > 1]
        return several if enough else []

    @property
    def rates_apart(self) -> float:
        """Factor between the highest and the lowest learning rate; 1 where one is unknown."""
        known = [arm.rate for arm in self.study.arms]
        return max(known) / min(known) if known and min(known) > 0 else 1.0

    def widest(self, groups: Sequence[Sequence[str]]) -> float:
        """Largest factor between temperatures within groups of runs."""
        return max(map(self._apart, groups))

    def _apart(self, names: Iterable[str]) -> float:
        known = [self.heats[name] for name in names]
        return max(known) / min(known) if known else 1.0

    @property
    def seeds(self) -> int:
        """Seeds that every arm has."""
        return len(by_seed(self.study.runs, self.study.runs))

    @property
    def enough(self) -> bool:
        """Whether it spans temperatures and has seeds enough."""
        return self.apart >= RANGE and self.seeds >= SEEDS


def activation(study: Study) -> Verdict:
    """Verdict on P5.

    Supported when the interval of the exponent lies within a factor of 1.5 of 2/α, contradicted
    when it lies beyond it. Arms are compared at equal learning rates where these tell; where the
    temperature goes with the rate alone, nothing supports. 2/α is at least 1, as α ≤ 2 for any
    self-affine landscape; the landscape tells how much more where it was recorded. Where it was
    not, an exponent that is too small for any α contradicts, and nothing supports.

    Arguments:
        study: the runs.

    Returns:
        The verdict, with the exponent.
    """
    blank = question("P5", EFFECT)
    warm = study.where(lambda run: not whole_batch(run))
    if study.runs and not warm.runs:
        return blank.lacking(_without_noise(study), study.sample)
    known, missing = warm.comparable("distance_sq", "learning_rate")
    if missing is not None:
        return blank.lacking(missing, known.sample)
    long = known.where(lambda run: constant_rate(run).decades >= DECADES)
    grid = _grid(long)
    grown = _growing(grid)
    if not grown.enough:
        missing = _missing(known, long, grid, grown)
        return blank.lacking(missing, (grid.study if grid.enough else known).sample)
    used, span = grown.study, grown.span
    slopes = {name: positive_slope(run, span) for name, run in used.runs.items()}
    groups = grown.at_equal_rates
    exponents = _exponents(used.runs, grown.heats, slopes, groups or [list(used.runs)])
    found = t_interval(exponents, level=study.level)
    expected = _expected(used)
    word = _word(found, expected)
    tied = word == SUPPORTED and not groups and grown.rates_apart > _EQUAL
    word = UNDECIDABLE if tied else word
    more = Missing("", "")
    if word == UNDECIDABLE:
        more = _AT_ONE_RATE if tied else _more(exponents, expected, grown, study.level)
    return blank.decided(
        word,
        found,
        reason=_reason(word, found, expected, grown, groups) + (_TIED if tied else ""),
        meaning=f"{EFFECT}, at equal learning rates" if groups else EFFECT,
        needed=more.needed,
        sample=used.sample,
        assumptions=(
            grown.how,
            expected.name,
            *left_out(known, long, f"less than {DECADES:g} decades of constant rate"),
            *left_out(long, grid.study, _UNPAIRED),
            *left_out(grid.study, used, "arms of which a run comes to rest"),
        ),
        null=(expected.low / FACTOR, expected.high * FACTOR),
        span=span,
        have=more.have,
        need=more.need,
        unit=more.unit,
    )


_TIED = " As temperatures go with the learning rate, weights that only drift would move alike."
_AT_ONE_RATE = Missing(
    "",
    f"arms at one learning rate whose temperatures differ by a factor of {RANGE:g}, as of another "
    f"batch size, {SEEDS} seeds each",
)
# Arms are compared within seeds, which takes out what runs of one seed have in common.
_UNPAIRED = (
    "their seed is unknown or lacking in some arm, their arm has too few, they are shorter than "
    "the others or their temperature is unknown"
)


def _grid(study: Study) -> _Grid:
    """The largest grid; by measured temperatures where that is enough, else by η/M."""
    measured = _longest(study, _measured, MEASURED)
    return measured if measured.enough else _longest(study, _proportional, PROPORTIONAL)


def _measured(run: xr.Dataset, span: Span) -> float:
    return measured_temperature(run, span)


def _proportional(run: xr.Dataset, span: Span) -> float:
    # Added noise heats as well, by as much beside that of the batches as only a record can tell.
    return rate_over_size(run) if injected_noise(run) == 0 else math.nan


def _longest(study: Study, heat: Callable[[xr.Dataset, Span], float], how: str) -> _Grid:
    """The grid of the decade that most runs reach, among those that are enough."""
    ends = {name: float(constant_rate(run).iteration[-1]) for name, run in study.runs.items()}

    def of(names: Iterable[str]) -> _Grid:
        return _one_grid(study.part(names), heat, how)

    names = most_seen(ends, lambda chosen: of(chosen).enough)
    return of(names or study.runs)


def _one_grid(study: Study, heat: Callable[[xr.Dataset, Span], float], how: str) -> _Grid:
    span = study.last_decade
    heats = {name: heat(run, span) for name, run in study.runs.items()}
    used = _paired(study.part(name for name, value in heats.items() if value > 0))
    return _Grid(used, heats, span, how)


def _paired(study: Study) -> Study:
    """Runs of the seeds that every arm has; the others would tilt the comparison.

    Arms of fewer than `SEEDS` seeds are left out where two others have as many.
    """
    named = {arm: by_seed(study.runs, names) for arm, names in study.arms.items()}
    enough = {arm: names for arm, names in named.items() if len(names) >= SEEDS}
    used = enough if len(enough) > 1 else named
    shared = set.intersection(*map(set, used.values())) if used else set()
    kept = {names[seed] for names in used.values() for seed in shared}
    return study.part(name for name in study.runs if name in kept)


def _growing(grid: _Grid) -> _Grid:
    """The grid without arms of which a run does not grow any more, and has no log-slope."""
    runs = grid.study.runs
    rest = [
        arm
        for arm, names in grid.study.arms.items()
        if not all(positive_slope(runs[name], grid.span) > 0 for name in names)
    ]
    kept = [n for arm, names in grid.study.arms.items() if arm not in rest for n in names]
    return replace(grid, study=grid.study.part(kept))


def _without_noise(study: Study) -> Missing:
    size = study.batch_sizes[0]
    return Missing(
        f"All {plural(len(study.runs), 'run')} see the whole training set in each update, so that "
        "none has a temperature.",
        f"arms at batch sizes below {size} whose temperatures differ by a factor of {RANGE:g} or "
        f"more, {SEEDS} seeds each, at a constant rate for {DECADES:g} decades",
        0.0,
        float(SEEDS),
        "seeds",
    )


def _missing(known: Study, long: Study, grid: _Grid, grown: _Grid) -> Missing:
    """What stands against a comparison, the first of what has to be there."""
    if not long.runs or grid.span[1] < grid.span[0]:
        return Missing(
            f"Too few runs share {DECADES:g} decades of constant learning rate.",
            f"training at a constant learning rate until iteration {number(10**DECADES)} or "
            f"later, in {SEEDS} seeds of each arm",
            max((constant_rate(run).decades for run in known.runs.values()), default=0.0),
            DECADES,
            "decades",
        )
    if grid.enough:
        rest = len(grid.study.runs) - len(grown.study.runs)
        return Missing(
            f"The distance of {plural(_at_rest(grid), 'run')} does not grow {over(grid.span)}, "
            f"which leaves too few arms.",
            f"arms whose distance still grows and whose temperatures differ by a factor of "
            f"{RANGE:g}",
            grown.apart if rest else grid.apart,
            RANGE,
            "times in temperature",
        )
    if not grid.study.runs and any(injected_noise(run) for run in long.runs.values()):
        return Missing(
            "The temperature of runs with added noise is not known, as not every run recorded its "
            "gradient noise.",
            "the gradient noise, recorded in every run",
        )
    if grid.seeds < SEEDS:
        return Missing(
            f"{plural(grid.seeds, 'seed')} in every arm; the seeds are the sample.",
            f"{SEEDS} seeds or more, the same in every arm",
            float(grid.seeds),
            float(SEEDS),
            "seeds",
        )
    return _cold(long, grid)


def _at_rest(grid: _Grid) -> int:
    return sum(not positive_slope(run, grid.span) > 0 for run in grid.study.runs.values())


def _cold(long: Study, grid: _Grid) -> Missing:
    """That temperatures are too much alike; those of arms of few seeds as well, or not."""
    known = [heat for heat in grid.heats.values() if heat > 0]
    all_apart = max(known) / min(known)
    which = (
        f", in the arms of {SEEDS} seeds or more" if len(grid.study.runs) < len(long.runs) else ""
    )
    needed = f"arms whose temperature differs by a factor of {RANGE:g} or more"
    if all_apart >= RANGE:
        needed = (
            f"{SEEDS} seeds, the same in every arm, in the arms that have fewer: with these "
            f"temperatures differ by a factor of {number(all_apart)}"
        )
    return Missing(
        f"The temperatures differ by a factor of {number(grid.apart)} only{which}; {RANGE:g} is "
        "needed.",
        needed if all_apart >= RANGE else f"{needed}, or arms with injected noise",
        grid.apart,
        RANGE,
        "times in temperature",
    )


def _exponents(
    runs: Mapping[str, xr.Dataset],
    heats: Mapping[str, float],
    slopes: Mapping[str, float],
    groups: Sequence[Sequence[str]],
) -> list[float]:
    """Slope of ln(log-slope) over ln T within each seed, of groups with levels of their own."""
    products: dict[object, list[float]] = {}
    squares: dict[object, list[float]] = {}
    for group in groups:
        members: dict[object, list[str]] = {}
        for name in group:
            members.setdefault(label(runs[name], "seed", None), []).append(name)
        for seed, names in members.items():
            heat, moved = (np.log([of[n] for n in names]) for of in (heats, slopes))
            heat -= heat.mean()
            products.setdefault(seed, []).append(float(heat @ moved))
            squares.setdefault(seed, []).append(float(heat @ heat))
    return [sum(products[seed]) / sum(squares[seed]) for seed in products]


def _expected(study: Study) -> Interval:
    """2/α = 1/γ from the landscape, with the interval of γ across seeds, named in words.

    Runs of one seed start on one landscape, at whatever temperature, and count once.
    """
    gammas: dict[object, list[float]] = {}
    for name, found in study.each(scans_of).items():
        gamma = landscape_exponent(found)[0]
        if math.isfinite(gamma):
            gammas.setdefault(label(study.runs[name], "seed", None), []).append(gamma)
    mean = t_interval([float(np.mean(values)) for values in gammas.values()], level=study.level)
    if mean.n < SEEDS or not mean.low > 0:
        name = "α was not measured, and 2/α ≥ 1 for any α ≤ 2"
        return Interval(math.nan, _LEAST, math.inf, name=name)
    inverse = mean.mapped(lambda gamma: 1 / gamma)
    least = replace(inverse, low=max(inverse.low, _LEAST), high=max(inverse.high, _LEAST))
    return replace(least, name=f"2/α = {inverse} from the landscape, and not below 1")


def _word(found: Interval, expected: Interval) -> str:
    """Both intervals enter: the claim holds or fails whatever 2/α is within its interval."""
    if expected.high / FACTOR < found.low and found.high < expected.low * FACTOR:
        return SUPPORTED
    if found.high < expected.low / FACTOR or found.low > expected.high * FACTOR:
        return CONTRADICTED
    return UNDECIDABLE


def _reason(
    word: str, found: Interval, expected: Interval, grid: _Grid, groups: Sequence[Sequence[str]]
) -> str:
    apart = grid.widest(groups) if groups else grid.apart
    alike = ", at equal learning rates," if groups and grid.rates_apart > _EQUAL else ""
    said = (
        f"Between temperatures {number(apart)} times apart{alike} the log-slope goes like T^x "
        f"with x = {found} {over(grid.span)}"
    )
    ends = f"{number(expected.low / FACTOR)} to {number(expected.high * FACTOR)}"
    if not math.isfinite(expected.high):
        ends = f"{number(expected.low / FACTOR)} or more"
    claim = f"2/α within a factor of {FACTOR:g}, {ends}"
    if word == UNDECIDABLE and not math.isfinite(expected.high):
        return f"{said}; which x the landscape asks for was not measured, but it is {ends}."
    return f"{said}; the landscape asks for {claim}."


def _more(values: list[float], expected: Interval, grid: _Grid, level: float) -> Missing:
    """Seeds, else temperatures farther apart, where a departure would show more."""
    if not math.isfinite(expected.high):
        needed = f"landscape scans of {SEEDS} seeds of these arms, which measure α"
        return Missing("", needed, 0.0, float(SEEDS), "seeds with scans")
    zone = Zone(
        expected.high / FACTOR,
        expected.low * FACTOR,
        expected.low / FACTOR,
        expected.high * FACTOR,
    )
    wanted = grid.apart**2
    farther = (
        f"temperatures that differ by a factor of {number(wanted)} in place of "
        f"{number(grid.apart)}"
    )
    otherwise = Missing("", farther, grid.apart, wanted, "times in temperature")
    measure = Measure(zone, [np.array(values)])
    return more_seeds([measure], len(values), "in every arm", level=level, otherwise=otherwise)
