"""Every number that a public function takes is checked, and named when it is out of range.

The table holds one sound call of each function. Each of its numbers is then replaced by what
cannot be meant: NaN, infinity, a negative number, a fraction where a count is expected.
"""

import inspect
import typing
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
from numpy.typing import ArrayLike

from ultraslow.diffusion import _validation, noise, scaling, sketch
from ultraslow.diffusion.laws import growth
from ultraslow.diffusion.walks import (
    field,
    langevin,
    line,
    potential,
    recordings,
    sgd,
    simulators,
    sinai,
)


@pytest.mark.parametrize(
    ("value", "closed", "inside"),
    [
        (0.0, (False, False), False),
        (0.0, (True, False), True),
        (2.0, (True, False), False),
        (2.0, (False, True), True),
        (1.0, (False, False), True),
        (float("nan"), (True, True), False),
        (float("inf"), (True, True), False),
    ],
)
def test_ends_belong_only_where_closed(value, closed, inside):
    if inside:
        assert _validation.in_range(value, "x", 0, 2, closed=closed) == value
    else:
        with pytest.raises(ValueError, match=r"x: found .*, expected a value in .0, 2."):
            _validation.in_range(value, "x", 0, 2, closed=closed)


def test_infinity_is_no_positive_number():
    with pytest.raises(ValueError, match="rate: found inf"):
        _validation.positive(np.inf, "rate")


def test_iterations_are_whole_and_increase_from_zero():
    np.testing.assert_array_equal(_validation.iterations(np.array([0.0, 3.0]), "records"), [0, 3])
    for wrong, message in (
        ([0, 0.5], "records: found 0.5, expected iterations >= 0"),
        ([-0.5, 1], "records: found -0.5"),
        ([-1, 0], "records: found -1, expected iterations >= 0"),
        ([0, np.nan], "records: found nan, expected finite values"),
        ([2, 2], "records: 2 is followed by 2"),
    ):
        with pytest.raises(ValueError, match=message):
            _validation.iterations(wrong, "records")


def test_negative_and_missing_numbers_are_named():
    np.testing.assert_array_equal(_validation.none_negative([[0.0, 2.0]], "noise"), [[0.0, 2.0]])
    for wrong in (-1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match=f"noise: found {wrong:g}, expected finite"):
            _validation.none_negative([1.0, wrong], "noise")


@pytest.mark.parametrize("wrong", [["a", 1.0], [[1.0], [1.0, 2.0]], [1j], [{}]])
@pytest.mark.parametrize(
    "check",
    [
        _validation.increasing,
        _validation.all_finite,
        _validation.none_negative,
        _validation.all_positive,
    ],
)
def test_what_is_no_number_is_named(check, wrong):
    with pytest.raises(TypeError, match=r"times: found .*, expected numbers"):
        check(wrong, "times")


def test_text_is_no_number():
    for check in (_validation.positive, _validation.count, _validation.whole):
        with pytest.raises(TypeError, match="alpha: found '1', expected one number"):
            check("1", "alpha")


def test_counts_are_whole():
    assert _validation.count(3, "n") == 3
    for wrong in (0, 2.5, -1):
        with pytest.raises(ValueError, match=f"n: found {wrong}"):
            _validation.count(wrong, "n")


BAND = field.Spectrum(1.0, 2, modes=3)


def rng():
    return np.random.default_rng(0)


FIELD = field.fourier_field(BAND, fields=2, rng=rng())
UNITS = noise.estimate_covariance([0.5, 0.5], [8, 8], projected_noise=1.0, noise_sq_trace=64.0)
POTENTIAL = np.array([[2.0, 0.0, 1.0, 0.5, 2.5]])

CALLS = {
    simulators.Setup: {},
    field.Spectrum: {"alpha": 1.0, "dimension": 3},
    field.fourier_field: {"spectrum": BAND, "fields": 2, "rng": rng()},
    field.expected_structure: {"spectrum": BAND, "distance": [1.0, 2.0]},
    field.field_structure: {"field": FIELD, "distance": [1.0], "pairs": 3, "rng": rng()},
    potential.random_walk: {"reach": 3, "samples": 2, "rng": rng()},
    potential.fractional_brownian: {"reach": 3, "hurst": 0.4, "samples": 2, "rng": rng()},
    potential.potential_structure: {"potential": np.ones((2, 5)), "lags": [1, 2]},
    potential.checked_potential: {"potential": POTENTIAL},
    langevin.langevin: {
        "field": FIELD,
        "records": [0, 2],
        "step": 0.1,
        "temperature": 0.2,
        "rng": rng(),
    },
    growth.growth_basis: {"times": [1.0, 2.0], "exponent": 0.5},
    growth.late_logarithm: {
        "times": [1.0, 2.0],
        "exponent": 0.5,
        "settled": 10.0,
        "sharpness": 2.0,
    },
    growth.growth_regressor: {"log_time": np.array([0.0, 1.0]), "exponent": np.array(0.5)},
    noise.estimate_covariance: {
        "weights": [0.5, 0.5],
        "sizes": [8, 8],
        "projected_noise": 1.0,
        "noise_sq_trace": 2.0,
    },
    noise.ratio_error: {"gradient_sq": 4.0, "noise_trace": 64.0, "covariance": UNITS},
    noise.drift_crossover: {"noise_scale": 10.0, "batch_size": [2.0]},
    noise.increment_excess: {"noise_scale": 10.0, "batch_size": [2.0]},
    noise.expected_straightness: {
        "iteration": [1.0, 2.0],
        "noise_scale": 10.0,
        "batch_size": 2.0,
    },
    scaling.scaled_learning_rate: {
        "rule": "exact_sqrt",
        "base_learning_rate": 0.1,
        "batch_size": [4.0],
        "base_batch_size": 2.0,
        "data_size": 10.0,
    },
    scaling.noise_factor: {"batch_size": [4.0], "data_size": 10.0},
    scaling.optimal_learning_rate: {
        "batch_size": [4.0],
        "largest_rate": 0.1,
        "noise_scale": 10.0,
    },
    scaling.langevin_temperature: {
        "learning_rate": [0.1],
        "batch_size": [4.0],
        "noise_trace": 2.0,
        "weights": 3,
    },
    scaling.steps_to_target: {
        "batch_size": [4.0],
        "fewest_steps": 10.0,
        "critical_batch_size": 3.0,
    },
    sgd.quadratic_descent: {
        "curvatures": [0.5, 0.1],
        "start": [1.0, 2.0],
        "records": [0, 2],
        "learning_rate": 0.1,
    },
    sgd.noisy_quadratic: {
        "curvatures": [0.5, 0.1],
        "start": [1.0, 2.0],
        "records": [0, 2],
        "noise": [1.0, 1.0],
        "learning_rate": 0.1,
        "batch_size": 4.0,
        "walkers": 2,
        "rng": rng(),
    },
    sgd.scale_invariant_walk: {
        "records": [0, 2],
        "dimension": 3,
        "start_norm": 1.0,
        "gradient_norm": 2.0,
        "learning_rate": 0.1,
        "rng": rng(),
    },
    sgd.separable_logistic: {"inputs": [[1.0, 2.0]], "records": [0, 2], "learning_rate": 0.1},
    sgd.drifting_walk: {
        "gradient": [1.0, 2.0],
        "records": [0, 2],
        "noise": [1.0, 1.0],
        "learning_rate": 0.1,
        "batch_size": 4.0,
        "walkers": 2,
        "rng": rng(),
    },
    recordings.recording: {
        "kind": simulators.DriftingWalk(),
        "arm": simulators.Setup(),
        "iterations": 4,
    },
    sinai.density: {"x": [1.0, 2.0]},
    sinai.mean_sq_asymptote: {"times": [2.0, 3.0], "temperature": 1.0},
    sinai.valley_bottom: {"potential": POTENTIAL, "barrier": 1.5},
    sketch.buckets_and_signs: {"indices": [0, 1]},
    sketch.sign_bits: {"groups": [0], "columns": [1], "components": 8, "seed": 1},
    sketch.shifts: {"rows": [0], "components": 8, "seed": 1},
    sketch.splitmix64: {"seed": 1, "outputs": [0]},
    line.occupation: {
        "potential": np.zeros((1, 41)),
        "times": [0.1, 0.2],
        "temperature": 1.0,
        "edge_tolerance": 0.5,
    },
}
# Functions of measured data: NaN and inf are findings there, and come out as their docstrings say.
OF_DATA = {
    "displacement": "all",
    "noise": {"noise_scale", "unit_estimates"},
    "walks.roughness": {"structure"},
    "sketch": {"distance_between", "two_time", "two_time_refined"},
    "moments": "all",
    "laws.growth": {"late_logarithms"},  # of shapes that `late_logarithm` has checked
    # no numbers of its own, or they are those of `recording` and `Setup`
    "walks.recordings": {"simulator", "simulated_recordings"},
    "laws.null": {"law_named"},
    # inner functions, whose callers check
    "walks.line": {"arrival", "eliminate", "solver"},
    "walks.potential": {"over_samples"},
}
MODULES = [
    *("displacement", "laws.growth", "laws.null", "moments", "noise", "scaling", "sketch"),
    *("walks.field", "walks.langevin", "walks.line", "walks.potential", "walks.recordings"),
    *("walks.roughness", "walks.sgd", "walks.simulators", "walks.sinai"),
]
# Either sign has a meaning.
SIGNED = {"exponent", "onset", "hessian_trace", "seed of a sketch", "x", "start", "gradient"}
SIGNED |= {"inputs", "potential"}
# Hashed as they are: integers of any size, in the inner loop of a probe.
HASHED = {"groups", "columns", "rows", "outputs"}


def wrong_values(function, name, annotation, value):
    """What cannot be meant for one argument."""
    kinds = {annotation, *typing.get_args(annotation)}
    signed = name in SIGNED or (name == "seed" and function.__module__.endswith("sketch"))
    if annotation == ArrayLike:
        array = np.asarray(value, dtype=float)
        for bad in (np.nan, np.inf, *([] if signed else [-1.0])):
            spoiled = array.copy()
            spoiled.flat[-1] = bad
            yield spoiled
    elif kinds & {int, float}:
        yield from (np.nan, np.inf)
        if not signed:
            yield -1 if int in kinds else -1.0
        if int in kinds:
            yield 1.5


def cases():
    for function, sound in CALLS.items():
        for name, parameter in inspect.signature(function).parameters.items():
            given = sound.get(name, parameter.default)
            if name in HASHED:
                continue
            for bad in wrong_values(function, name, parameter.annotation, given):
                label = f"{function.__module__}.{function.__name__}-{name}-{np.ravel(bad)[-1]}"
                yield pytest.param(function, sound, name, bad, id=label)


@pytest.mark.parametrize(("function", "sound", "name", "bad"), list(cases()))
def test_what_cannot_be_meant_is_refused_by_name(function, sound, name, bad):
    with pytest.raises(ValueError, match=rf"{name}\b.*: (found|starts at|.* is followed by) ?"):
        function(**{**sound, name: bad})


@pytest.mark.parametrize("function", CALLS, ids=lambda f: f"{f.__module__}.{f.__name__}")
def test_the_sound_call_is_sound(function):
    function(**CALLS[function])


def test_the_table_holds_every_public_function():
    known = {(f.__module__.removeprefix("ultraslow.diffusion."), f.__name__) for f in CALLS}
    missing = []
    for module in MODULES:
        home = f"ultraslow.diffusion.{module}"
        members = inspect.getmembers(import_module(home), inspect.isfunction)
        spared = OF_DATA.get(module, set())
        missing += [
            (module, name)
            for name, member in members
            if member.__module__ == home and not name.startswith("_")
            if (module, name) not in known and spared != "all" and name not in spared
        ]
    assert not missing


SETTINGS = [
    (kind, name, bad)
    for kind in recordings.KINDS.values()
    for name, value in vars(kind).items()
    if isinstance(value, int | float)
    for bad in (np.nan, np.inf, -1 if isinstance(value, int) else -1.0)
    if (name, bad) not in {("batch_exponent", -1.0), ("start", -1.0)}
]


@pytest.mark.parametrize(("kind", "name", "bad"), SETTINGS)
def test_settings_of_simulators_are_refused_by_name(kind, name, bad):
    spoiled = replace(kind, **{name: bad})
    with pytest.raises(ValueError, match=rf"{name}: found"):
        recordings.recording(spoiled, simulators.Setup(), 4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: potential.random_walk(1.5, samples=1, rng=rng()), "reach: found 1.5"),
        (
            lambda: sinai.valley_bottom([[1.0, 0.0, 1.0, 2.0]], 0.5),
            r"potential: found shape \(1, 4\)",
        ),
        (lambda: sinai.mean_sq_asymptote([1.0], temperature=1.0), "times: found 1, .* above 1"),
        (
            lambda: noise.expected_straightness([0.5], 1.0, 1.0),
            "iteration: found 0.5, expected values of 1 or more",
        ),
        (
            lambda: noise.estimate_covariance(
                [1.0, 0.0], [8, 8], projected_noise=0.0, noise_sq_trace=1.0
            ),
            r"weights: found \[1.0, 0.0\], expected values in \[0, 1\)",
        ),
        (lambda: growth.growth_basis([1.0], exponent=0.5, onset=-2.0), r"onset: found -1"),
        (
            lambda: sgd.drifting_walk(
                [1.0, 2.0],
                [0, 1],
                noise=[1.0],
                learning_rate=0.1,
                batch_size=1.0,
                walkers=1,
                rng=rng(),
            ),
            r"noise: found shape \(1,\), expected \(2,\)",
        ),
        (lambda: simulators.Setup(scaling="cubic"), "scaling: found 'cubic'"),
    ],
)
def test_other_values_out_of_range_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_what_is_no_number_is_named_arguments():
    with pytest.raises(TypeError, match=r"reach: found \[1, 2\], expected one number"):
        potential.random_walk([1, 2], samples=1, rng=rng())
