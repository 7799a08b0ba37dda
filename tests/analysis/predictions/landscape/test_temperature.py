import numpy as np
import pytest

from ultraslow.analysis.intervals import Interval, t_interval
from ultraslow.analysis.predictions.landscape.temperature import (
    _expected,
    _word,
    activation,
)
from ultraslow.analysis.study import Study
from ultraslow.diffusion.recording.schedule import log_spaced

TIMES = log_spaced(3000, per_decade=10)
RADII = np.geomspace(0.1, 6, 9)


def grid(make, power, *, sizes=(32, 64, 256), seeds=4, gamma=None, **options):
    """Runs of log-slope (64/M)^power and no noise records."""
    runs = {}
    for size in sizes:
        for seed in range(seeds):
            slope = (64 / size) ** (power + 0.01 * (seed - 1.5))
            run = make(
                batch_size=size,
                seed=seed,
                slope=slope,
                rate=0.1,
                noise=0.0,
                records=TIMES,
                noise_trace=None,
                scaling="fixed",
                **(landscape(gamma, seed) if gamma else {}),
                **options,
            )
            runs[f"b{size}-s{seed}"] = run
    return runs


def landscape(gamma, seed):
    values = np.full((TIMES.size, 1, RADII.size, 8), np.nan)
    signs = np.where(np.arange(8) % 2, 1.0, -1.0)
    values[0, 0] = RADII[:, None] ** (gamma + 0.005 * seed) * signs
    axes = {"ensemble": ["isotropic"], "direction": np.arange(8), "radius": RADII}
    return {"loss_difference": values, **axes}


@pytest.mark.parametrize(
    ("power", "gamma", "word"),
    [
        (2.0, 0.5, "supported"),
        (1.0, 0.5, "contradicted"),
        (3.5, 0.5, "contradicted"),
        (1.315, 0.5, "undecidable"),
        (0.2, None, "contradicted"),
        (1.0, None, "undecidable"),
    ],
)
def test_the_exponent_is_set_against_the_landscape(make, power, gamma, word):
    found = activation(Study(grid(make, power, gamma=gamma)))
    assert found.effect == pytest.approx(power, abs=0.01)
    assert found.verdict == word


def at_rates(make, rates, sizes, law):
    """Runs of log-slope law(η, M) at several learning rates and batch sizes."""
    runs = {}
    for rate in rates:
        for size in sizes:
            options = {"rate": rate, "scaling": "fixed", "base_learning_rate": rate}
            for seed in range(4):
                slope = law(rate, size) * 1.01 ** (seed - 1.5)
                more = {"noise": 0.0, "records": TIMES, "noise_trace": None, **options}
                run = make(batch_size=size, seed=seed, slope=slope, **landscape(1.0, seed), **more)
                runs[f"r{rate}-b{size}-s{seed}"] = run
    return runs


def test_drift_that_goes_with_the_rate_is_no_activation(make):
    """d ∝ η whatever M: over all arms ln b goes like .7 ln T here, at equal rates like T^0."""
    runs = at_rates(make, (0.01, 0.1, 1.0), (32, 128), lambda rate, size: 10 * rate)
    found = activation(Study(runs))
    assert (found.verdict, found.effect) == ("contradicted", pytest.approx(0, abs=1e-6))
    assert "4 times apart, at equal learning rates," in found.reason


def test_activation_at_several_rates_and_sizes_is_supported(make):
    found = activation(Study(at_rates(make, (0.05, 0.1), (32, 64, 256), lambda r, m: 64 * r / m)))
    assert (found.verdict, found.effect) == ("supported", pytest.approx(1, abs=1e-6))


def test_temperatures_that_go_with_the_rate_support_nothing(make):
    runs = at_rates(make, (0.01, 0.03, 0.1), (64,), lambda rate, size: 10 * rate)
    found = activation(Study(runs))
    assert (found.verdict, found.effect) == ("undecidable", pytest.approx(1, abs=1e-6))
    assert "weights that only drift would move alike" in found.reason
    assert found.needed.startswith("arms at one learning rate")
    weak = activation(Study(at_rates(make, (0.01, 0.1), (64,), lambda rate, _: rate**0.3)))
    assert weak.verdict == "contradicted"


def test_without_a_landscape_scans_are_asked_for(make):
    assert "landscape scans" in activation(Study(grid(make, 1.0))).needed


def test_missing_temperatures_and_seeds_are_named(make):
    close = activation(Study(grid(make, 1.0, sizes=(64, 128))))
    assert close.reason == "The temperatures differ by a factor of 2 only; 3 is needed."
    assert "injected noise" in close.needed
    few = activation(Study(grid(make, 1.0, seeds=3)))
    assert few.reason.startswith("3 seeds in every arm")


def test_full_batches_have_no_temperature(make):
    runs = grid(make, 1.0, data_size=256)
    assert activation(Study(runs)).sample.batch_sizes == (32, 64)


def test_a_run_at_rest_has_no_log_slope(make):
    runs = grid(make, 1.0)
    runs["b256-s0"]["distance_sq"][10:] = 1.0
    assert activation(Study(runs)).reason.startswith("The distance of 1 run does not grow")


def test_the_exponent_has_students_interval_over_seeds(make):
    # By construction x = 1 + 0.01·(seed − 1.5) in seed 0 to 3: s = 0.012910, and t of 3 degrees of
    # freedom is 1.6377 at 80 %.
    found = activation(Study(grid(make, 1.0), 0.8))
    half = 1.6377 * 0.0129099 / 2
    ends = [found.effect, found.effect_low, found.effect_high]
    np.testing.assert_allclose(ends, [1.0, 1 - half, 1 + half], atol=1e-4)


def test_a_seed_that_an_arm_lacks_is_left_out(make):
    whole, more = grid(make, 1.0), grid(make, 1.0, seeds=5)
    del more["b256-s4"]
    found = activation(Study(more))
    assert found.sample.runs == 12
    assert (found.effect, found.effect_low) == pytest.approx(
        (activation(Study(whole)).effect, activation(Study(whole)).effect_low)
    )


def test_runs_without_a_seed_are_no_draw_and_said(make):
    """Log-slopes are compared within seeds: a run of no known seed has no partner."""
    whole = grid(make, 1.0)
    others = [
        run.assign(distance_sq=1.01 * run["distance_sq"]) for run in grid(make, 3.0).values()
    ]
    nameless = {f"x{k}": run.drop_vars("seed") for k, run in enumerate(others)}
    found, alone = activation(Study(whole | nameless)), activation(Study(whole))
    assert (found.effect, found.effect_low) == (alone.effect, alone.effect_low)
    assert found.sample == alone.sample
    assert found.assumptions[-1].startswith("12 runs left out: their seed is unknown")
    assert not any("left out" in item for item in alone.assumptions)
    assert activation(Study(nameless)).reason.startswith("0 seeds in every arm")


def test_an_arm_of_few_seeds_does_not_stand_in_the_way(make):
    whole = grid(make, 1.0)
    stray = grid(make, 3.0, sizes=(1024,), seeds=1)
    found = activation(Study(whole | stray))
    assert found.sample.batch_sizes == (32, 64, 256)
    assert found.effect == activation(Study(whole)).effect
    assert found.assumptions[-1].startswith("1 run left out")


def test_temperatures_of_added_noise_span_one_batch_size(make):
    """T = ηs²/2 at the full batch: slopes ∝ s^2.4 are x = 1.2, and no arm is taken for a copy."""
    runs = {}
    for noise in (0.01, 0.02, 0.05):
        for seed in range(4):
            slope = (noise / 0.01) ** (2.4 + 0.02 * (seed - 1.5))
            run = make(batch_size=64, data_size=64, seed=seed, slope=slope, noise=0.0, rate=0.1)
            runs[f"n{noise}-s{seed}"] = run.assign_attrs(config=f'{{"gradient_noise": {noise}}}')
    found = activation(Study(runs))
    assert found.effect == pytest.approx(1.2, abs=1e-3)
    assert (found.sample.runs, found.sample.seeds) == (12, 4)
    part = {name: run.assign_coords(data_size=1000) for name, run in runs.items()}
    silent = {name: run.drop_vars("noise_trace") for name, run in part.items()}
    assert "temperature of runs with added noise is not known" in activation(Study(silent)).reason


def test_temperatures_are_measured_where_enough_runs_were(make):
    bare = grid(make, 1.0)
    traces = ("iteration", "tensor"), np.full((TIMES.size, 3), 800.0)
    full = {name: run.assign(noise_trace=traces) for name, run in bare.items()}
    assert "measured gradient noise" in activation(Study(full)).assumptions[0]
    # One run without a record takes its arm out; of the others measured temperatures are enough.
    one = activation(Study(full | {"b64-s1": bare["b64-s1"]}))
    assert "measured gradient noise" in one.assumptions[0]
    assert one.sample.batch_sizes == (32, 256)
    two = {name: bare[name] for name in ("b64-s1", "b32-s1")}
    assert "taken ∝ η/M" in activation(Study(full | two)).assumptions[0]


def test_short_runs_are_named_and_end_nothing(make):
    runs = grid(make, 1.0, seeds=5)
    found = activation(Study(runs))
    runs["b64-s4"] = runs["b64-s4"].sel(iteration=slice(0, 400))
    one = activation(Study(runs))
    assert one.span == found.span == (300, 3000)
    assert (one.sample.seeds, one.sample.runs) == (4, 12)
    shorter = runs["b64-s4"].sel(iteration=slice(0, 200))
    assert activation(Study(runs | {"b64-s4": shorter})).effect == one.effect
    arm = {name: run.sel(iteration=slice(0, 200)) for name, run in grid(make, 1.0).items()}
    short = {f"t-{name}": run for name, run in arm.items() if "b256" in name}
    other = {name: run.assign_coords(batch_size=512) for name, run in short.items()}
    named = activation(Study(runs | other))
    assert named.effect == one.effect
    told = named.assumptions
    assert any("4 runs left out: less than 2.5 decades" in item for item in told)


@pytest.mark.parametrize(("power", "word"), [(0.5, "contradicted"), (1.2, "supported")])
def test_the_exponent_is_one_at_least_whatever_is_measured(make, power, word):
    """γ = 2 is a bowl: α ≤ 2 asks for 1 as it does where nothing was measured."""
    found = activation(Study(grid(make, power, gamma=2.0)))
    assert found.verdict == word
    assert found.null == pytest.approx((1 / 1.5, 1.5))


def test_an_arm_at_rest_is_named_and_the_others_judged(make):
    runs = grid(make, 1.0, sizes=(16, 32, 64, 256))
    runs["b256-s0"]["distance_sq"][10:] = 1.0
    found = activation(Study(runs))
    assert found.sample.batch_sizes == (16, 32, 64)
    assert any("4 runs left out: arms of which" in item for item in found.assumptions)


@pytest.mark.parametrize(
    ("found", "expected", "word"),
    [
        ((1.4, 2.9), (2.0, 2.0), "supported"),
        ((1.3, 2.9), (2.0, 2.0), "undecidable"),
        ((1.4, 3.1), (2.0, 2.0), "undecidable"),
        ((1.0, 1.3), (2.0, 2.0), "contradicted"),
        ((1.0, 1.4), (2.0, 2.0), "undecidable"),
        ((3.1, 4.0), (2.0, 2.0), "contradicted"),
        ((2.9, 4.0), (2.0, 2.0), "undecidable"),
        # Whatever 2/α is between 1.5 and 3: within 2 and 2.25, or beyond 1 and 4.5.
        ((2.05, 2.2), (1.5, 3.0), "supported"),
        ((1.9, 2.2), (1.5, 3.0), "undecidable"),
        ((2.05, 2.3), (1.5, 3.0), "undecidable"),
        ((0.8, 0.95), (1.5, 3.0), "contradicted"),
        ((0.8, 1.05), (1.5, 3.0), "undecidable"),
        ((4.6, 5.0), (1.5, 3.0), "contradicted"),
        ((4.4, 5.0), (1.5, 3.0), "undecidable"),
    ],
)
def test_both_intervals_enter(found, expected, word):
    middle = sum(found) / 2
    across = Interval(middle, *found, 4)
    assert _word(across, Interval(np.nan, *expected)) == word


def test_runs_of_one_seed_share_their_landscape_and_count_once(make):
    runs = grid(make, 1.0, gamma=0.5)
    gammas = t_interval([0.5, 0.505, 0.51, 0.515], level=0.9)
    found = _expected(Study(runs, 0.9))
    assert (found.low, found.high) == pytest.approx((1 / gammas.high, 1 / gammas.low))
    arms = grid(make, 1.0, sizes=(16, 32, 64, 256), seeds=1, gamma=0.5)
    assert len(arms) == 4 and _expected(Study(arms, 0.9)).high == np.inf
