"""How often intervals of the noise scale hold it; writes noise_table.md.

Moments of single updates with trends, memories, tails and batch sizes other than those that the
menu of models was chosen on, averaged over windows as a recording has them.
"""

import subprocess
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from scipy.signal import lfilter

from ultraslow.analysis.noise.scale import FEWEST_SEEDS, Windows, noise_interval
from ultraslow.diffusion.recording.schedule import log_spaced

pytestmark = pytest.mark.slow

SETS = 200
SETS_ACROSS = 1000  # where no window is looked into
SEED = 2026
TABLE = Path(__file__).with_name("noise_table.md")
LEAST, MOST = 0.93, 0.97


def error(sets):
    """Two standard errors of a share near 95 %."""
    return 2 * np.sqrt(0.95 * 0.05 / sets)


# Noise of single updates, unit variance, shape (set, moment, update).


def fading(phi, rng, shape):
    """Autoregressive: correlation φ of neighbours, begun in its stationary state."""
    drive = rng.standard_normal(shape)
    drive[..., 0] /= np.sqrt(1 - phi**2)
    return lfilter([np.sqrt(1 - phi**2)], [1, -phi], drive, axis=-1)


def fractional(d, rng, shape):
    """Fractional differences of order d, exactly, by embedding in a circle."""
    lags = np.arange(1, 2 * shape[-1])
    correlation = np.concatenate([[1.0], np.cumprod((lags - 1 + d) / (lags - d))])
    circle = np.concatenate([correlation, correlation[-2:0:-1]])
    root = np.sqrt(np.fft.fft(circle).real.clip(0) / circle.size)
    whole = (*shape[:-1], circle.size)
    drive = rng.standard_normal(whole) + 1j * rng.standard_normal(whole)
    return np.fft.fft(root * drive, axis=-1).real[..., : shape[-1]]


def log_normal(rng, shape):
    """Independent and skew, with a standard deviation of 1.2 of the logarithm."""
    square = 1.2**2
    drawn = np.exp(1.2 * rng.standard_normal(shape)) - np.exp(square / 2)
    return drawn / np.sqrt(np.exp(2 * square) - np.exp(square))


def student(rng, shape):
    """Independent, Student's with three degrees of freedom."""
    return rng.standard_t(3, shape) / np.sqrt(3)


def mixed(share, slow, rng, shape):
    return np.sqrt(share) * slow(rng, shape) + np.sqrt(1 - share) * rng.standard_normal(shape)


def ar(phi):
    return lambda rng, shape: fading(phi, rng, shape)


def long(d):
    return lambda rng, shape: fractional(d, rng, shape)


NOISES = {
    "independent": lambda rng, shape: rng.standard_normal(shape),
    "AR .9": ar(0.9),
    "AR .97": ar(0.97),
    "AR .99": ar(0.99),
    "AR .995": ar(0.995),
    "long memory, d = .4": long(0.4),
    "long memory, d = .25": long(0.25),
    "AR .8 and AR .998, a half each": lambda rng, shape: (
        np.sqrt(0.5) * (fading(0.8, rng, shape) + fading(0.998, rng, shape))
    ),
    "a fifth of AR .995": lambda rng, shape: mixed(0.2, ar(0.995), rng, shape),
    "a twentieth of long memory, d = .45": lambda rng, shape: mixed(0.05, long(0.45), rng, shape),
    "log-normal": log_normal,
    "Student, 3 degrees": student,
}


# Trends: factors of |G|² and tr Σ, of t/T.


def still(x):
    return np.ones_like(x), np.ones_like(x)


def falling(x):
    """|G|² falls as a power and tr Σ saturates: B grows twenty-fold."""
    return (x + 0.003) ** -0.45, 1 - 0.7 * np.exp(-x / 0.1)


def stepped(x):
    """As when the learning rate falls at 60 %: |G|² to a third, tr Σ to 70 %."""
    return np.where(x < 0.6, 1.0, 0.33), np.where(x < 0.6, 1.0, 0.7)


def humped(x):
    """|G|² has a hump at 40 %, twice as high as what is around it."""
    return 1 + np.exp(-(((x - 0.4) / 0.15) ** 2)), np.sqrt(x + 0.1)


TRENDS = {"none": still, "falling": falling, "step": stepped, "hump": humped}
SCHEDULES = {"log": log_spaced, "even": lambda last: np.linspace(0, last, 61).astype(int)}


class Design(NamedTuple):
    """Moments whose B is known."""

    last: int
    noise: str
    trend: str = "none"
    schedule: str = "log"
    spread: float = 0.3  # of one update's |G|², relative
    scale: float = 200.0  # B

    def __str__(self):
        more = f", spread of each \\|G\\|² {self.spread:g}" if self.spread != 0.3 else ""
        return f"{self.last} updates, {self.noise}, trend: {self.trend}, {self.schedule}{more}"


def simulate(design, sets, rng, seeds=1, apart=0.0):
    """Windows of sets of runs, shape (set, seed, window), their updates, and B of the windows."""
    edges = SCHEDULES[design.schedule](design.last)
    updates, shape = np.diff(edges), (sets, 2, design.last)
    g, s = TRENDS[design.trend](np.arange(1, design.last + 1) / design.last)
    g, s = g / g.mean(), s / s.mean() * design.scale
    found = []
    for _ in range(seeds):
        noise = NOISES[design.noise](rng, shape)
        level = np.exp(apart * rng.standard_normal((sets, 1)))
        measured_g = g * (1 + design.spread * noise[:, 0])
        measured_s = s * level * (1 + 0.3 * (0.3 * noise[:, 0] + np.sqrt(0.91) * noise[:, 1]))
        sums = [
            np.add.reduceat(x, edges[:-1], axis=-1) / updates for x in (measured_g, measured_s)
        ]
        found.append(sums)
    return np.moveaxis(np.array(found), 0, 2), updates, (g, s)


def outcomes(design, seeds=1, apart=0.0, inside=None):
    """For each set the interval, and B; `inside` picks windows by their iterations."""
    rng = np.random.default_rng([SEED, *map(ord, str(design)), seeds])
    sets = SETS if seeds < FEWEST_SEEDS else SETS_ACROSS
    (g, s), updates, truths = simulate(design, sets, rng, seeds, apart)
    ends = np.cumsum(updates)
    chosen = (
        np.ones(ends.size, bool) if inside is None else (ends > inside[0]) & (ends <= inside[1])
    )
    within = np.repeat(chosen, updates)
    truth = truths[1][within].mean() / truths[0][within].mean()
    found = []
    for k in range(sets):
        runs = [Windows(g[k, j], s[k, j], updates, chosen) for j in range(seeds)]
        found.append(noise_interval(runs))
    return found, truth


class Outcome(NamedTuple):
    """What came of a design: shares, and the median of high/low."""

    held: float
    flagged: float
    unflagged: float
    width: float


def outcome(design, **options):
    found, truth = outcomes(design, **options)
    held = np.array([one.interval.contains(truth) for one in found])
    flagged = np.array([one.correlated for one in found])
    with np.errstate(divide="ignore"):
        width = [np.divide(one.interval.high, one.interval.low) for one in found]
    rest = held[~flagged].mean() if (~flagged).sum() >= 20 else np.nan
    return Outcome(held.mean(), flagged.mean(), rest, float(np.median(width)))


ASKED = [Design(1500, "AR .99"), Design(1500, "long memory, d = .4")]
SHORT = [Design(300, noise) for noise in ("AR .97", "AR .99", "AR .995")]
OTHERS = [
    Design(1500, "independent"),
    Design(1500, "independent", "falling", scale=3000),
    Design(1500, "independent", "step", scale=40),
    Design(1500, "independent", "hump"),
    Design(1500, "independent", "falling", spread=5),
    Design(1500, "AR .99", "falling", scale=3000),
    Design(1500, "AR .9", "hump", "even"),
    Design(1500, "long memory, d = .4", "falling", "even"),
    Design(1500, "long memory, d = .25", "step"),
    Design(1500, "AR .8 and AR .998, a half each"),
    Design(1500, "a fifth of AR .995", "falling"),
    Design(1500, "a twentieth of long memory, d = .45"),
    Design(1500, "log-normal", "falling"),
    Design(1500, "Student, 3 degrees", "step", "even", scale=40),
    Design(700, "AR .97", "falling"),
    Design(300, "independent", "falling", spread=3),
    Design(300, "long memory, d = .4"),
    Design(10_000, "AR .995", "hump", scale=3000),
    Design(10_000, "long memory, d = .4", "falling"),
]
ACROSS = [
    Design(1500, "independent", "falling"),
    Design(1500, "AR .99", "hump", "even", scale=3000),
    Design(1500, "long memory, d = .4", "step"),
    Design(300, "AR .995"),
    Design(300, "log-normal", "falling", scale=40),
    Design(300, "Student, 3 degrees", spread=3),
]
BINS = [(10, 30), (100, 160), (630, 1000), (1000, 1500)]
BINNED = [
    Design(1500, "independent", "falling"),
    Design(1500, "AR .97", "falling"),
    Design(1500, "independent", "hump"),
]
# What is known to be short of 93 %: of a memory without end little of a run tells.
KNOWN = {
    OTHERS[11]: 0.85,
}


@pytest.mark.parametrize("design", [*ASKED, *OTHERS], ids=str)
def test_within_a_run_the_interval_holds_the_noise_scale(design):
    assert outcome(design).held >= KNOWN.get(design, LEAST) - error(SETS)


@pytest.mark.parametrize("design", SHORT, ids=str)
def test_of_a_short_run_it_holds_the_noise_scale_or_is_flagged(design):
    found = outcome(design)
    assert found.held >= LEAST - error(SETS) or found.flagged >= 0.8


@pytest.mark.parametrize("seeds", [FEWEST_SEEDS, 5])
@pytest.mark.parametrize("design", ACROSS, ids=str)
def test_across_seeds_it_holds_at_its_level(design, seeds):
    found = outcome(design, seeds=seeds, apart=0.1)
    assert LEAST - error(SETS_ACROSS) <= found.held <= MOST + error(SETS_ACROSS)


@pytest.mark.parametrize("design", BINNED, ids=str)
@pytest.mark.parametrize("inside", BINS)
def test_of_a_part_of_a_run_it_holds_the_noise_scale_of_that_part(design, inside):
    assert outcome(design, inside=inside).held >= LEAST - error(SETS)


def row(name, found):
    rest = "–" if np.isnan(found.unflagged) else f"{found.unflagged:.1%}"
    width = f"{found.width:.2f}" if np.isfinite(found.width) else "∞"
    return f"| {name} | {found.held:.1%} | {found.flagged:.0%} | {rest} | {width} |"


def table():
    """The page: one line a design."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short=7", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    head = "| held | flagged | held without a flag | high/low |\n|---|---|---|---|---|"
    blocks = [HEAD.format(sets=SETS, across=SETS_ACROSS, commit=commit)]
    for title, designs in (("asked", ASKED), ("short runs", SHORT), ("other designs", OTHERS)):
        lines = [row(design, outcome(design)) for design in designs]
        blocks.append("\n".join([f"## Within one run: {title}\n", f"| design {head}", *lines]))
    lines = [
        row(f"{seeds} seeds, {design}", outcome(design, seeds=seeds, apart=0.1))
        for design in ACROSS
        for seeds in (FEWEST_SEEDS, 5)
    ]
    title = "## Across seeds whose B have a spread of 10 %\n"
    blocks.append("\n".join([title, f"| design {head}", *lines]))
    lines = [
        row(f"iterations {first + 1} to {last} of {design}", outcome(design, inside=(first, last)))
        for design in BINNED
        for first, last in BINS
    ]
    blocks.append("\n".join(["## A part of one run\n", f"| design {head}", *lines]))
    return "\n\n".join(blocks) + "\n"


HEAD = """# Coverage of 95 % intervals of the noise scale

Share of {sets} simulated sets ({across} across seeds) whose interval holds the true B = tr Σ/|G|²
over the iterations it speaks of (standard errors 1.5 % and 0.7 % near 95 %), share of sets that
say that their windows drift, the share held of those that do not say so, and the median of the
upper end over the lower. The menu of models was chosen on runs of 300 and 1500 updates without
trend, B = 200, of independent noise, AR .9 to .995 and long memories of d = .2 and .4, alone and
as a tenth of the noise; the other designs came after. Within a run the interval has to allow for
every memory that the windows do not rule out: of independent noise it is about twice as long as
one that knew of the independence, of AR .99 five times. Written by `python
tests/statistics/test_noise_scale.py` at commit {commit}."""

if __name__ == "__main__":
    TABLE.write_text(table())
