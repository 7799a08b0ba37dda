"""The certificate against the formula, and its edge cases."""

import numpy as np
import pytest

from ultraslow.analysis.growth.grids import thinned
from ultraslow.analysis.growth.noise_models import NoiseModel
from ultraslow.analysis.growth.status import Settings
from ultraslow.analysis.planning.certificate import (
    certify,
    detectable_formula,
    summary,
    unit_growth,
)

TIMES = np.geomspace(10, 1e5, 60)


def test_formula_agrees_with_the_spread_of_estimates_for_a_known_onset():
    certificate = certify(
        TIMES,
        NoiseModel("white"),
        scale=0.01,
        draws=300,
        settings=Settings(onset=0.0, calibrate=False),
        rng=np.random.default_rng(0),
    )
    # The formula is 2.80 standard errors; sd of p̂ from 300 draws is known to 4 %.
    assert certificate.spread[0] * 2.80 == pytest.approx(certificate.formula, rel=0.15)
    assert certificate.detectable == pytest.approx(certificate.formula, rel=0.15)
    assert certificate.rejected[2] > 0.99  # p = 0.1 is ten standard errors away
    assert abs(certificate.covered[0] - 0.95) < 0.05


def test_formula_by_hand():
    # 2.8016 · 26.833 · 0.01 / (ln 1e4 · √60) with √720 = 26.833.
    expected = 2.8016 * 26.833 * 0.01 / (9.21034 * 7.74597)
    assert detectable_formula(TIMES, NoiseModel("white"), scale=0.01) == pytest.approx(
        expected, rel=1e-4
    )


def test_formula_grows_with_correlation_and_is_silent_on_walks():
    correlated = NoiseModel("ar_log_t", length=0.5)
    white = detectable_formula(TIMES, NoiseModel("white"), scale=0.01)
    assert detectable_formula(TIMES, correlated, scale=0.01) > 2 * white
    assert detectable_formula(TIMES, NoiseModel("walk_log_t"), scale=0.01) == np.inf


def test_summary_names_every_figure():
    certificate = certify(
        TIMES,
        NoiseModel("white"),
        scale=0.05,
        draws=50,
        settings=Settings(calibrate=False),
        rng=np.random.default_rng(1),
    )
    text = summary(certificate)
    assert text.count("interval holds it") == 3
    assert "smallest |p| told from 0" in text


def certified(times, **options):
    given = {"scale": 0.01, "draws": 100, "settings": Settings(calibrate=False), **options}
    return certify(times, NoiseModel("white"), **given, rng=np.random.default_rng(0))


def test_laws_have_the_onset_that_is_known():
    found = certified(TIMES, settings=Settings(onset=1000.0, calibrate=False))
    # Without the onset in the simulated laws, 88 % of true log laws were rejected.
    assert found.size < 0.15
    assert found.covered.min() > 0.85


def test_of_many_records_those_are_used_that_a_fit_uses():
    times = np.geomspace(1, 1e4, 400)
    found, of_thinned = certified(times), certified(times[thinned(times)])
    assert found.spread == pytest.approx(of_thinned.spread, rel=1e-12)


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (TIMES[::-1], "times: expected positive values that increase"),
        (TIMES - 10, "times: expected positive values that increase"),
        (np.append(TIMES, np.nan), "times: expected positive values that increase"),
        (TIMES[:5], "times: found 5 from 10 to"),
        (np.geomspace(100, 300, 30), "times: found 30 from 100 to 300"),
    ],
)
def test_times_that_no_fit_would_accept(times, message):
    with pytest.raises(ValueError, match=message):
        certified(times)


def test_growth_runs_from_0_to_1():
    for exponent in (-1.0, 0.0, 0.5):
        curve = unit_growth(TIMES, exponent)
        assert (curve[0], curve[-1]) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"exponents": (0.1,)}, "exponents: found"),
        ({"scale": 0.0}, "scale: found 0.0"),
        ({"draws": 1}, "draws: found 1"),
    ],
)
def test_messages(options, message):
    with pytest.raises(ValueError, match=message):
        certify(
            TIMES,
            NoiseModel("white"),
            **{"scale": 0.01, **options},
            rng=np.random.default_rng(0),
        )


def test_everything_is_counted_at_the_level_of_the_settings():
    settings = Settings(level=0.8, onset=0.0, calibrate=False)
    found = certified(TIMES, settings=settings, exponents=(0.0,), draws=300)
    # Four standard errors of 300 draws at 20 %.
    assert found.size == pytest.approx(0.2, abs=4 * np.sqrt(0.2 * 0.8 / 300))
    assert found.covered[0] == pytest.approx(0.8, abs=4 * np.sqrt(0.2 * 0.8 / 300))
    assert found.error == pytest.approx(np.sqrt(0.2 * 0.8 / 300))
    # z: 1.2816 + 0.8416 for 80 %, 1.9600 + 0.8416 for 95 %.
    formula = detectable_formula(TIMES, NoiseModel("white"), scale=0.01)
    assert found.formula == pytest.approx(formula * 2.1232 / 2.8016, rel=1e-4)
