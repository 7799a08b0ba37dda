import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import curve_fit

from ultraslow.diffusion.laws import growth, null

ALL = {law.name: law for law in (*growth.LAWS, *null.NULL_LAWS.values())}
TIMES = np.geomspace(1, 1e4, 60)
PAGES = Path(__file__).parents[3] / "docs" / "laws"


@pytest.mark.parametrize("law", ALL.values(), ids=ALL)
def test_slope_is_the_derivative_of_the_distance(law):
    step = 1e-6
    wide = np.sort(np.concatenate([TIMES * (1 - step), TIMES * (1 + step)]))
    d = law.distance(wide, law.example)
    numerical = (d[1::2] - d[::2]) / (wide[1::2] - wide[::2])
    # central differences: relative error step² plus rounding of d, 1e-16·d/(2·step·t)
    rounding = 1e-15 * d[::2] / (2 * step * TIMES)
    np.testing.assert_allclose(
        law.slope(TIMES, law.example), numerical, rtol=1e-5, atol=2 * rounding.max()
    )


@pytest.mark.parametrize("law", ALL.values(), ids=ALL)
def test_distance_is_finite_positive_and_grows_in_the_example(law):
    d = law.distance(TIMES, law.example)
    assert np.isfinite(d).all(), law.name
    assert (d > 0).all(), law.name
    assert (np.diff(d) >= 0).all(), law.name


@pytest.mark.parametrize("law", ALL.values(), ids=ALL)
def test_every_parameter_outside_its_range_is_named(law):
    for parameter in law.parameters:
        if parameter.low == -np.inf:
            continue
        wrong = parameter.low - 1.0
        value = np.full(30, wrong) if parameter.modes else wrong
        with pytest.raises(ValueError, match=f"{parameter.name}: found {wrong:g}, expected"):
            law.distance(TIMES, {**law.example, parameter.name: value})


@pytest.mark.parametrize("law", ALL.values(), ids=ALL)
def test_missing_and_unknown_parameters_are_listed(law):
    with pytest.raises(ValueError, match="parameters: found"):
        law.distance(TIMES, {**law.example, "colour": 1.0})
    with pytest.raises(ValueError, match="parameters: found"):
        law.distance(TIMES, {})


def test_names_are_unique_and_every_law_names_its_source():
    assert len(ALL) == len(growth.LAWS) + len(null.NULL_LAWS) - 1  # N6 is the power law
    for law in ALL.values():
        assert law.source, law.name
        assert law.formula, law.name
        assert set(law.example) == {p.name for p in law.parameters}, law.name


@pytest.mark.parametrize("exponent", [0.0, 1e-9, -1e-9, 1e-7])
def test_growth_basis_is_continuous_at_the_logarithm(exponent):
    found = growth.growth_basis(TIMES, exponent=exponent, onset=2.0)
    log_time = np.log(TIMES + 2.0)
    # the next term of the expansion is p·ln²t/2
    np.testing.assert_allclose(found, log_time + exponent * log_time**2 / 2, rtol=1e-11)


LATE = [(q, m) for q in (0.2, 0.5, 1.0, 2.0) for m in (0.7, 1.0, 2.5, 5.0)]


@pytest.mark.parametrize(("q", "m"), LATE)
def test_late_logarithm_is_the_integral_of_its_slope(q, m):
    def integral(x):
        # ∫ u^(q−1)/(1 + u^(qm))^(1/m) du with v = u^q: no end is singular then.
        return quad(lambda v: (1 + v**m) ** (-1 / m) / q, 0, x**q, epsabs=0, epsrel=1e-11)[0]

    times = np.array([0.05, 3.0, 20.0, 700.0])
    found = growth.late_logarithm(times, exponent=q, settled=20.0, sharpness=m)
    np.testing.assert_allclose(found, [integral(t / 20.0) for t in times], rtol=1e-10)


@pytest.mark.parametrize(("q", "m"), LATE)
def test_late_logarithm_has_its_slope_and_no_seam(q, m):
    """By differences in ln t, also where the series is continued by the logarithm."""
    settled = 20.0
    seam = settled * 1e6 ** (1 / (q * m))
    times = np.concatenate([np.geomspace(1e-2, 1e6, 50), seam * np.array([0.99, 1.0, 1.01])])
    step = 1e-4
    ends = [
        growth.late_logarithm(times * np.exp(s), exponent=q, settled=settled, sharpness=m)
        for s in (-step, step)
    ]
    x = times / settled
    slope = (1 + x ** (-q * m)) ** (-1 / m)
    difference = (ends[1] - ends[0]) / (2 * step)
    # ₂F₁ has eleven digits at worst.
    np.testing.assert_allclose(difference, slope, rtol=1e-6, atol=1e-11 * ends[1].max() / step)


def test_late_logarithm_is_the_shifted_logarithm_where_both_parameters_are_1():
    found = growth.late_logarithm(TIMES, exponent=1.0, settled=30.0, sharpness=1.0)
    np.testing.assert_allclose(found, np.log1p(TIMES / 30.0), rtol=1e-9)


def test_late_logarithm_begins_as_a_power_and_ends_as_a_logarithm():
    early = growth.late_logarithm([1.0, 4.0], exponent=0.5, settled=1e12, sharpness=2.0)
    # x^q/q up to a relative term of order x^(qm)
    np.testing.assert_allclose(early, 2 * np.sqrt([1e-12, 4e-12]), rtol=1e-11)
    late = growth.late_logarithm([1e9, 1e10, 1e300], exponent=0.5, settled=1.0, sharpness=2.0)
    np.testing.assert_allclose(np.diff(late), np.log([10.0, 1e290]), rtol=1e-9)
    # An abrupt end of the power: x^q/q until t_c, and 1/q + ln x after it.
    sharp = growth.late_logarithm([4.0, 64.0], exponent=0.5, settled=16.0, sharpness=200.0)
    np.testing.assert_allclose(sharp, [1.0, 2.0 + np.log(4.0)], rtol=1e-4)


def test_late_logarithm_needs_times_after_the_start():
    with pytest.raises(ValueError, match="times: found 0, expected"):
        growth.late_logarithm([0.0, 1.0], exponent=0.5, settled=1.0, sharpness=1.0)


def test_log_power_at_alpha_two_is_the_shifted_logarithm():
    a = growth.LOG_POWER.distance(TIMES, {"scale": 0.7, "time_unit": 9.0, "alpha": 2.0})
    b = growth.SHIFTED_LOG.distance(TIMES, {"scale": 0.7, "onset": 9.0})
    np.testing.assert_allclose(a, b, rtol=1e-14)


def test_alpha_above_two_is_refused_with_its_range():
    with pytest.raises(ValueError, match=r"alpha: found 2.5, expected a value in \(0, 2\]"):
        growth.LOG_POWER.distance(TIMES, {"scale": 1.0, "time_unit": 1.0, "alpha": 2.5})


def test_mode_arrays_and_numbers_are_told_apart():
    with pytest.raises(ValueError, match=r"curvatures: found shape \(\), expected \(mode,\)"):
        null.QUADRATIC.distance(TIMES, {"learning_rate": 0.1, "curvatures": 1.0, "start": [1.0]})


@pytest.mark.parametrize(
    "law", [law for law in ALL.values() if any(p.modes for p in law.parameters)]
)
@pytest.mark.parametrize("wrong", [1, 2, 29])
def test_modes_of_different_number_are_refused_with_their_shapes(law, wrong):
    for parameter in law.parameters:
        if parameter.modes:
            value = np.asarray(law.example[parameter.name])[:wrong]
            with pytest.raises(
                ValueError, match=rf"curvatures, start.*{parameter.name} \({wrong},\)"
            ):
                law.distance(TIMES, {**law.example, parameter.name: value})


def test_a_spectrum_without_modes_is_refused():
    empty = {"learning_rate": 0.5, "curvatures": [], "start": []}
    with pytest.raises(ValueError, match=r"curvatures: found shape \(0,\), expected"):
        null.QUADRATIC.slope(TIMES, empty)


@pytest.mark.parametrize(
    ("law", "still"),
    [
        (null.QUADRATIC, {"start": np.zeros(30)}),
        (null.NOISY_QUADRATIC, {"start": np.zeros(30), "noise": np.zeros(30)}),
        (null.CROSSOVER, {"gradient_sq": 0.0, "noise_trace": 0.0}),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_what_does_not_move_has_distance_and_slope_zero(law, still):
    parameters = {**law.example, **still}
    np.testing.assert_array_equal(law.distance(TIMES, parameters), 0.0)
    np.testing.assert_array_equal(law.slope(TIMES, parameters), 0.0)


def test_an_example_completes_parameters():
    assert growth.POWER.completed({"exponent": 0.25}) == {"scale": 0.3, "exponent": 0.25}
    with pytest.raises(ValueError, match=r"parameters: found \['p'\], expected some of \['scale"):
        growth.POWER.completed({"p": 0.25})
    with pytest.raises(TypeError, match="parameters: found 5, expected a mapping"):
        growth.POWER.completed(5)


def test_saturation_begins_as_diffusion_however_far_its_end():
    # d → d∞·√(t/τ), up to relative terms of order t/τ
    for tau in (1e12, 1e18, 1e30):
        found = growth.SATURATION.slope([1.0, 4.0], {"limit": 3.0, "time_constant": tau})
        np.testing.assert_allclose(found, [1.5 / tau**0.5, 0.75 / tau**0.5], rtol=1e-11)


def test_negative_exponents_saturate_almost_exponentially():
    p, tau = -4.0, 100.0
    onset = -p * tau
    u = growth.growth_basis(TIMES, exponent=p, onset=onset)
    start = growth.growth_basis([0.0], exponent=p, onset=onset)
    share = (u - start) / (-1 / p - start)  # of the way to the limit at u = 1/|p|
    np.testing.assert_allclose(share, 1 - (1 + TIMES / onset) ** p, atol=1e-5)
    # (1 − x/p)^p differs from e^(−x) by x²e^(−x)/(2|p|) at most
    np.testing.assert_allclose(share, 1 - np.exp(-TIMES / tau), atol=0.28 / -p)


def test_a_fit_recovers_a_law():
    truth = {"scale": 1.5, "onset": 20.0}
    d = growth.SHIFTED_LOG.distance(TIMES, truth)

    def model(t, scale, onset):
        return growth.SHIFTED_LOG.distance(t, {"scale": scale, "onset": onset})

    found, _ = curve_fit(model, TIMES, d, p0=[1.0, 5.0])
    np.testing.assert_allclose(found, list(truth.values()), rtol=1e-6)


def test_the_pages_of_the_laws_are_those_that_the_code_writes():
    source = Path(__file__).parents[3] / "docs" / "laws.py"
    spec = importlib.util.spec_from_file_location("law_pages", source)
    pages = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pages)
    points = pages.simulated()
    for name, law in ALL.items():
        written = (pages.FOLDER / f"{name}.md").read_text(encoding="utf-8")
        assert written == pages.page(law, has_points=name in points), name
        assert (pages.FOLDER / f"{name}.svg").exists(), name


@pytest.mark.parametrize("law", ALL.values(), ids=lambda law: law.name)
def test_bars_in_symbols_do_not_break_the_table_of_a_page(law):
    page = (PAGES / f"{law.name}.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    assert [len(re.split(r"(?<!\\)\|", row)) for row in rows] == [8] * (1 + len(law.parameters))
