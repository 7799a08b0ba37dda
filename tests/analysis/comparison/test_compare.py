"""Laws on recordings: what a study of known growth is told, and what bad input costs."""

from dataclasses import replace

import numpy as np
import pytest

import ultraslow as us
from ultraslow.analysis.comparison import in_words
from ultraslow.analysis.comparison.laws import CANDIDATES
from ultraslow.analysis.predictions import arms_compared
from ultraslow.analysis.report import law_tables
from ultraslow.analysis.study import Study


def study(make, seeds=4, exponent=0.5, **options):
    return {f"s{k}": make(run=f"s{k}", seed=k, exponent=exponent, **options) for k in range(seeds)}


def test_diffusion_keeps_powers_and_excludes_the_logarithm(make):
    (found,) = arms_compared(Study(study(make), 0.95))
    assert (found.arm, found.runs) == ("batch size 64", ("s0", "s1", "s2", "s3"))
    assert (found.first, found.last) == (1, 3000)
    assert "power" in found.surviving
    assert "log" not in found.surviving
    words = in_words(found)
    assert "power" in words
    assert "no logarithm survives: a decade ahead log is off by −" in words
    kept = [law.survives for law in found.laws]
    assert kept == sorted(kept, reverse=True)
    off = [abs(law.decade.value) for law in found.laws]
    assert off[: sum(kept)] == sorted(off[: sum(kept)])


def test_how_far_the_logarithm_is_off_is_that_of_a_line(make):
    runs = study(make, noise=0.0)
    for k, run in enumerate(runs.values()):
        run["distance_sq"] *= (1 + 0.1 * k) ** 2
    (found,) = arms_compared(Study(runs, 0.95))
    law = next(law for law in found.laws if law.law == "log")
    times = runs["s0"]["iteration"].values[1:].astype(float)
    values, clock = 1 + 2 * (np.sqrt(times) - 1), np.log10(times)
    past = clock <= clock[-1] - 1 + 1e-9
    line = np.polynomial.Polynomial.fit(clock[past], values[past], 1)
    places = np.linspace(clock[-1] - 0.2, clock[-1], 21)
    forecast = np.interp(places, clock, line(clock)).mean()
    actual = np.interp(places, clock, values).mean()
    assert law.decade.value == pytest.approx(forecast / actual - 1, rel=1e-6)
    assert law.decade.low == pytest.approx(law.decade.high)


def test_the_dataset_holds_the_same(make, tree):
    runs = study(make)
    found = us.compare_laws(tree(*runs.values()), level=0.9)
    assert dict(found.sizes) == {"arm": 1, "law": len(CANDIDATES)}
    (arm,) = arms_compared(Study(runs, 0.9))
    for law in arm.laws:
        row = found.sel(arm="batch size 64", law=law.law)
        assert bool(row["survives"]) == law.survives
        assert float(row["decade_high"]) == law.decade.high
    assert found["seeds"].values.tolist() == [4]
    assert found.attrs["level"] == 0.9
    assert all(found[name].attrs["long_name"] for name in found.data_vars)


def test_arms_answer_for_themselves(make):
    alone = arms_compared(Study(study(make), 0.95))
    other = {f"o{k}": make(run=f"o{k}", seed=k, batch_size=256, model="vgg") for k in range(3)}
    together = arms_compared(Study(study(make) | other, 0.95))
    assert together[0].laws == alone[0].laws
    assert "log" in together[1].surviving


@pytest.mark.parametrize("seeds", [1, 2])
def test_few_seeds_say_how_far_off_and_exclude_nothing(make, seeds, tree):
    runs = study(make, seeds)
    (found,) = arms_compared(Study(runs, 0.95))
    assert found.surviving == ()
    assert found.reason == f"{seeds} seed{'s' * (seeds > 1)}: laws are told apart by 3 or more"
    assert all(np.isfinite(law.decade.value) for law in found.laws)
    assert us.compare_laws(tree(*runs.values()))["survives"].values.all()
    assert "∞" not in in_words(found)


def test_short_runs_say_what_is_missing(make, tree):
    runs = study(make, last=50)
    (found,) = arms_compared(Study(runs, 0.95))
    assert found.laws == ()
    assert "over 1.7 decades of iterations at a constant rate: forecasts need 2" in found.reason
    data = us.compare_laws(tree(*runs.values()))
    assert data["survives"].values.all()
    assert np.isnan(data["decade"].values).all()


def test_two_decades_are_forecast_half_a_decade(make):
    (found,) = arms_compared(Study(study(make, last=120), 0.95))
    assert np.isnan(found.laws[0].decade.value)
    assert "log survives with an onset, half a decade ahead off by" in in_words(found)


def test_a_run_that_ends_early_or_diverges_costs_its_seed_only(make, tree):
    whole = study(make, 4)
    (alone,) = arms_compared(Study(whole, 0.95))
    broken = make(run="broken", seed=7, exponent=0.5)
    broken["distance_sq"][40:] = np.nan
    short = make(run="short", seed=8, exponent=0.5, last=100)
    (found,) = arms_compared(Study(whole | {"b": broken, "c": short}, 0.95))
    assert found == alone
    note = us.compare_laws(tree(*whole.values(), broken, short)).attrs["note"]
    assert "broken to iteration" in note
    assert "short to iteration 100" in note


def test_a_run_that_diverges_late_is_left_out_where_three_others_go_on(make):
    runs = study(make, 4)
    others = {name: run for name, run in runs.items() if name != "s2"}
    (alone,) = arms_compared(Study(others, 0.95))
    runs["s2"]["distance_sq"][-4:] *= 1e9
    (found,) = arms_compared(Study(runs, 0.95))
    assert replace(found, left_out=()) == alone and found.left_out == ("s2",)
    assert "diverge: s2." in law_tables([found], "", level=0.95)[1].terminal()
    runs["s2"]["distance_sq"][-2:] = np.inf
    assert arms_compared(Study(runs, 0.95)) == [alone]
    # Of three all are compared until the first diverges.
    del runs["s0"]
    (found,) = arms_compared(Study(runs, 0.95))
    assert found.last == runs["s2"]["iteration"].values[-5] and len(found.runs) == 3


def test_a_gap_in_one_run_takes_no_records_from_the_others(make):
    runs = study(make, 4)
    others = {name: run for name, run in runs.items() if name != "s2"}
    (alone,) = arms_compared(Study(others, 0.95))
    at = runs["s2"]["iteration"].values
    runs["s2"]["distance_sq"][(at > 300) & (at < 500)] = np.nan
    (found,) = arms_compared(Study(runs, 0.95))
    assert replace(found, left_out=()) == alone and found.left_out == ("s2",)
    # A record that was lost is bridged.
    runs = study(make, 4)
    runs["s2"]["distance_sq"][-8] = np.nan
    (found,) = arms_compared(Study(runs, 0.95))
    assert len(found.runs) == 4 and found.last == alone.last


def test_runs_recorded_at_other_iterations_are_compared_where_all_are_known(make):
    runs = study(make, 4)
    runs["s1"] = runs["s1"].isel(iteration=np.r_[0:30:2, 30 : runs["s1"].sizes["iteration"]])
    (found,) = arms_compared(Study(runs, 0.95))
    assert "power" in found.surviving
    assert "log" not in found.surviving


def test_a_run_without_any_finite_distance_is_no_error(make):
    run = make(seed=1)
    run["distance_sq"][:] = np.nan
    (found,) = arms_compared(Study({"a": run}, 0.95))
    assert found.laws == ()
    assert found.reason.startswith("0 records")


def test_no_recording_is_refused(tree):
    with pytest.raises(ValueError, match="found no recording"):
        us.compare_laws(tree())
