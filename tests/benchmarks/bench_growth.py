"""Growth fits with intervals: series per second and actual coverage, beside other tools.

    python tests/benchmarks/bench_growth.py [--json FILE] [--series 10000]

The same curves for all: a logarithm over four decades, 60 records even in ln t, autoregressive
noise (ρ = 0.7 between neighbours) of 1.1 % of the growth. The others fit the same family, with the
onset in the same range, by nonlinear least squares and take their own 95 % interval of p; where
they fail there is none, which counts as a miss. The first row simulates its critical values, the
second finds them kept. All sides run in this process, one after the
other; rates count processor seconds, so that other work on the machine matters little.
`lmfit` is left out where it is not installed.
"""

import argparse
import json
import resource
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import xarray as xr
from scipy.optimize import OptimizeWarning, curve_fit
from scipy.stats import t as student

from ultraslow.analysis.growth.fit import fit_growth
from ultraslow.analysis.growth.noise_models import NoiseModel, simulate_noise

TIMES = np.geomspace(10, 1e5, 60)
RHO, SCALE = 0.7, 0.011
START = {"a": 0.0, "b": 0.1, "p": 0.1, "tau": 1.0}
LOW, HIGH = (-np.inf, -np.inf, -2.0, 0.0), (np.inf, np.inf, 1.5, 1e4)


def curves(count: int) -> np.ndarray:
    """Noisy logarithms that grow by 1, shape (count, time)."""
    log_range = np.log(TIMES[-1] / TIMES[0])
    noise = NoiseModel("ar_log_t", -log_range / (TIMES.size - 1) / np.log(RHO))
    truth = np.log(TIMES / TIMES[0]) / log_range
    return truth + SCALE * simulate_noise(noise, TIMES, count, rng=np.random.default_rng(0))


def growth(t: np.ndarray, a: float, b: float, p: float, tau: float) -> np.ndarray:
    """The family as one would write it for an optimizer."""
    power = p if abs(p) > 1e-8 else 1e-8
    return a + b * np.expm1(power * np.log(t + tau)) / power


def timed(call: Callable[[], np.ndarray]) -> tuple[float, float, np.ndarray]:
    """Processor seconds, seconds, and the intervals, shape (series, 2)."""
    wall, used = time.perf_counter(), time.process_time()
    intervals = call()
    return time.process_time() - used, time.perf_counter() - wall, intervals


def ours(values: np.ndarray, *, calibrate: bool) -> np.ndarray:
    """Intervals of this package."""
    distances = values - min(values.min(), 0.0)
    table = xr.DataArray(distances, {"iteration": TIMES}, ["series", "iteration"])
    fit = fit_growth(table, calibrate=calibrate)
    return np.stack([fit.exponent_low.values, fit.exponent_high.values], axis=1)


def wald(estimate: float, variance: float) -> tuple[float, float]:
    """The usual interval from a covariance matrix."""
    half = student.ppf(0.975, TIMES.size - 4) * np.sqrt(variance)
    return estimate - half, estimate + half


def scipy_loop(values: np.ndarray) -> np.ndarray:
    """Intervals from `scipy.optimize.curve_fit`, one series at a time."""
    found = []
    for series in values:
        best, covariance = curve_fit(
            growth, TIMES, series, p0=tuple(START.values()), bounds=(LOW, HIGH)
        )
        found.append(wald(best[2], covariance[2, 2]))
    return np.array(found)


def xarray_curvefit(values: np.ndarray) -> np.ndarray:
    """Intervals from `xarray.DataArray.curvefit`."""
    table = xr.DataArray(values, {"t": TIMES}, ["series", "t"])
    limits = dict(zip(START, zip(LOW, HIGH, strict=True), strict=True))
    fit = table.curvefit("t", growth, p0=START, bounds=limits, errors="ignore")
    best = fit.curvefit_coefficients.sel(param="p").values
    variance = fit.curvefit_covariance.sel(cov_i="p", cov_j="p").values
    return np.array([wald(*pair) for pair in zip(best, variance, strict=True)])


def lmfit_profile(values: np.ndarray) -> np.ndarray:
    """Intervals from `lmfit.minimize` and `lmfit.conf_interval`."""
    import lmfit

    def residual(parameters: "lmfit.Parameters", series: np.ndarray) -> np.ndarray:
        return growth(TIMES, *(parameters[name].value for name in START)) - series

    found = []
    for series in values:
        start = lmfit.create_params(**START)
        for name, low, high in zip(START, LOW, HIGH, strict=True):
            start[name].set(min=low, max=high)
        fitter = lmfit.Minimizer(residual, start, fcn_args=(series,))
        try:
            best = fitter.minimize()
            limits = lmfit.conf_interval(fitter, best, p_names=["p"], sigmas=[0.95])["p"]
            found.append((limits[0][1], limits[-1][1]))
        except (lmfit.MinimizerException, ValueError):
            found.append((np.nan, np.nan))
    return np.array(found)


def row(name: str, count: int, call: Callable[[np.ndarray], np.ndarray]) -> dict[str, float | str]:
    """One line of the table."""
    used, wall, intervals = timed(lambda: call(curves(count)))
    held = np.mean((intervals[:, 0] <= 0) & (intervals[:, 1] >= 0))
    return {
        "tool": name,
        "series": count,
        "cpu_seconds": used,
        "seconds": wall,
        "per_cpu_second": count / used,
        "coverage": float(held),
    }


def measure(count: int = 10_000, others: int = 400, profiled: int = 100) -> dict[str, float]:
    """Figures by name."""
    figures: dict[str, float] = {}
    for line in table(count, others, profiled):
        figures[f"{line['tool']}: series a processor second"] = line["per_cpu_second"]  # type: ignore[assignment]
        figures[f"{line['tool']}: coverage"] = line["coverage"]  # type: ignore[assignment]
    return figures


def table(count: int, others: int = 400, profiled: int = 100) -> list[dict[str, float | str]]:
    """All rows; the first is this package with calibrated intervals.

    Arguments:
        count: series of this package.
        others: series of the slower ones.
        profiled: series of the slowest.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OptimizeWarning)
        warnings.simplefilter("ignore", UserWarning)  # of lmfit, where a bound stops its search
        return _rows(count, others, profiled)


def _rows(count: int, others: int, profiled: int) -> list[dict[str, float | str]]:
    rows = [
        row("ultraslow, calibrated", count, lambda v: ours(v, calibrate=True)),
        row("ultraslow, same times", count, lambda v: ours(v, calibrate=True)),
        row("ultraslow, asymptotic", count, lambda v: ours(v, calibrate=False)),
        row("scipy curve_fit", others, scipy_loop),
        row("xarray curvefit", others, xarray_curvefit),
    ]
    if find_spec("lmfit"):
        rows.append(row("lmfit + conf_interval", profiled, lmfit_profile))
    for line in rows:
        line["rate_over_this"] = rows[0]["per_cpu_second"] / line["per_cpu_second"]  # type: ignore[operator]
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--series", type=int, default=10_000)
    parser.add_argument("--json", help="file to write the figures to")
    options = parser.parse_args()
    rows = table(options.series)
    print(f"{'tool':24} {'series':>7} {'s':>7} {'cpu s':>7} {'series/cpu s':>13} {'coverage':>9}")
    for line in rows:
        print(
            f"{line['tool']:24} {line['series']:7d} {line['seconds']:7.1f} "
            f"{line['cpu_seconds']:7.1f} {line['per_cpu_second']:13.1f} {line['coverage']:9.3f}"
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"largest memory {peak:.2f} GiB")
    if options.json:
        with open(options.json, "w") as file:
            json.dump(rows, file, indent=2)


if __name__ == "__main__":
    main()
