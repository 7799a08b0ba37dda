"""Speed of the walkers: the line solver against banded solves, Langevin against a cosine.

    python tests/benchmarks/bench_walks.py [--json FILE]

Both sides of each ratio run in this process, one after the other; the best of some repetitions
counts, in processor seconds, so that other work on the machine hardly matters.
"""

import argparse
import json
import time
import warnings
from collections.abc import Callable

import numpy as np
from scipy.linalg import solve_banded

from ultraslow.diffusion.walks import field as fields, line, potential
from ultraslow.diffusion.walks.langevin import langevin

TIMES = np.geomspace(1e-2, 1e12, 15)
REACH = 1500
LOOP_RATIO = 1.06  # of the reference recipe: about 530 steps of backward Euler


def measure(samples: int = 40, compared: int = 6, walkers: int = 64) -> dict[str, float]:
    """All figures by name; times in processor seconds unless the name says otherwise."""
    return {**line_solver(samples, compared), **field_walker(walkers)}


def line_solver(samples: int, compared: int) -> dict[str, float]:
    """Seconds and error a sample, and the speed ratio at equal and at the usual accuracy."""
    rng = np.random.default_rng(0)
    v = potential.random_walk(REACH, samples=samples, rng=rng)
    exact = occupation(v[:compared], ratio=1.05)
    loop_time, looped = best(lambda: np.array([banded_loop(one) for one in v[:compared]]))
    loop_error = error(looped, exact)
    result = {"line: banded loop, s a sample": loop_time / compared, "line: its error": loop_error}
    for ratio in (line.RATIO, 10**0.25, 10 ** (1 / 3), 10**0.5):
        seconds, _ = best(lambda ratio=ratio: occupation(v, ratio=ratio))
        name = f"line: ratio {ratio:.3g}"
        result[f"{name}, s a sample"] = seconds / samples
        result[f"{name}, error"] = error(occupation(v[:compared], ratio=ratio), exact)
        result[f"{name}, times faster"] = loop_time / compared * samples / seconds
    return result


def occupation(v: np.ndarray, *, ratio: float) -> np.ndarray:
    """⟨x²⟩ of the package's solver."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", line.EdgeWarning)
        return line.occupation(v, TIMES, temperature=1.0, ratio=ratio).mean_sq


def banded_loop(v: np.ndarray) -> np.ndarray:
    """⟨x²⟩ by backward Euler, one `solve_banded` a step, probabilities renormalized."""
    sites = len(v)
    up, down = np.exp(-np.diff(v) / 2), np.exp(np.diff(v) / 2)
    leave = np.append(up, 0.0) + np.append(0.0, down)
    x = np.arange(sites) - sites // 2
    p = (x == 0).astype(float)
    bands = np.zeros((3, sites))
    now, moments = 0.0, []
    for target in TIMES:
        while now < target * (1 - 1e-12):
            step = min(max(now * (LOOP_RATIO - 1), 1e-3), target - now)
            bands[0, 1:] = -step * down
            bands[1] = 1 + step * leave
            bands[2, :-1] = -step * up
            p = np.maximum(solve_banded((1, 1), bands, p), 0.0)
            p /= p.sum()
            now += step
        moments.append(p @ x**2)
    return np.array(moments)


def error(found: np.ndarray, exact: np.ndarray) -> float:
    """Root mean square of the relative error from t = 1 on."""
    late = TIMES >= 1
    return float(np.sqrt(np.mean((found[:, late] / exact[:, late] - 1) ** 2)))


def field_walker(walkers: int, modes: int = 200, steps: int = 100) -> dict[str, float]:
    """Nanoseconds a walker, step and wave in ten dimensions, beside one cosine."""
    rng = np.random.default_rng(1)
    field = fields.fourier_field(fields.Spectrum(1.0, 10, modes=modes), fields=walkers, rng=rng)
    seconds, _ = best(lambda: langevin(field, [steps], step=0.01, temperature=0.3, rng=rng))
    angles = 100.0 * rng.standard_normal(4096)
    cosine, _ = best(lambda: [np.cos(angles) for _ in range(100)])
    wave = seconds / (walkers * modes * (steps + 1)) * 1e9
    one = cosine / (100 * len(angles)) * 1e9
    return {
        "field: ns a walker, step and wave": wave,
        "field: ns a cosine": one,
        "field: wave in cosines": wave / one,
    }


def best(call: Callable[[], object], repetitions: int = 3) -> tuple[float, np.ndarray]:
    """The fewest processor seconds of some calls, and what the last returned."""
    seconds = []
    for _ in range(repetitions):
        start = time.process_time()
        result = call()
        seconds.append(time.process_time() - start)
    return min(seconds), result  # type: ignore[return-value]


def main() -> None:
    """Print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", help="file to write the figures to")
    file = parser.parse_args().json
    figures = measure()
    for name, value in figures.items():
        print(f"{name:<44} {value:.4g}")
    if file:
        with open(file, "w") as stream:
            json.dump(figures, stream, indent=1)


if __name__ == "__main__":
    main()
