import json
import math
from dataclasses import replace

import numpy as np
import pytest

from analysis import plan_table
from analysis.pilot import stated
from analysis.plan import SEEDS, Question, lengths, plan
from diffusion.commands import main

PILOT = stated(0.02, onset=3.0, batch_size=64, noise_scale=400.0, seed_spread=0.05)


@pytest.fixture(scope="module")
def found():
    """A plan for a question that is easy, so that few lengths are simulated."""
    return plan(Question(0.4, draws=100), PILOT, rng=np.random.default_rng(0))


def test_each_number_of_seeds_has_an_option_with_the_power_asked_for(found):
    assert [option.seeds for option in found.options] == list(SEEDS)
    for option in found.options:
        assert option.power >= 0.8
        assert option.updates == option.seeds * option.last
        assert option.samples == 64 * option.updates
        assert option.last in lengths(PILOT)


def test_no_option_is_longer_with_more_seeds(found):
    lasts = [option.last for option in found.options]
    assert lasts == sorted(lasts, reverse=True)


def test_lengths_start_where_verdicts_do():
    # 2.5 decades beyond the onset: (1 + 3)·10^2.5 − 3, worked by hand 1261.9.
    assert lengths(PILOT)[0] == 1262
    assert lengths(PILOT)[-1] <= 1e8


def test_records_even_in_t_tell_less_than_the_default(found):
    errors = {one.name: one.error for one in found.records}
    assert errors["even in t"] > errors["25 a decade"]
    assert errors["50 a decade"] <= errors["25 a decade"] <= errors["6 a decade"]


def test_batch_sizes_span_the_noise_scale(found):
    # 40, 126, 400, 1265, 4000 as powers of two.
    assert found.batch_sizes == (32, 128, 512, 1024, 4096)
    unknown = replace(PILOT, noise_scale=math.nan)
    assert "batch sizes" in " ".join(replace_notes(found, unknown))


def replace_notes(found, pilot):
    return plan(found.question, pilot, rng=np.random.default_rng(0)).notes


def test_a_question_beyond_any_training_has_no_option():
    hopeless = replace(PILOT, seed_spread=10.0)
    found = plan(Question(0.01, draws=100), hopeless, rng=np.random.default_rng(0))
    assert all(option.last == 0 for option in found.options)
    assert found.cheapest is None and found.records == ()
    assert "ask for a larger exponent" in plan_table.terminal(found)


def test_seeds_that_reject_a_true_log_law_too_often_are_told_and_not_the_cheapest():
    found = plan(Question(0.1, draws=100), stated(0.02), rng=np.random.default_rng(0))
    alarms = {option.seeds: option.false_alarms for option in found.options}
    assert alarms[10] > 0.2 > 0.1 > alarms[4]
    assert min(found.options, key=lambda option: option.updates).seeds == 10
    assert found.cheapest.seeds < 10
    assert f"10 ({alarms[10]:.0%}) seeds a true log law would be rejected" in found.notes[-1]


@pytest.mark.parametrize(
    ("question", "name"),
    [
        (Question(0.0), "exponent"),
        (Question(math.nan), "exponent"),
        (Question(0.1, power=1.0), "power"),
        (Question(0.1, level=0.2), "level"),
        (Question(0.1, draws=10), "draws"),
    ],
)
def test_impossible_questions_are_refused(question, name):
    with pytest.raises(ValueError, match=f"{name}: found"):
        plan(question, PILOT, rng=np.random.default_rng(0))


def test_the_plan_is_printed_within_the_width_of_a_terminal(found):
    text = plan_table.terminal(found)
    assert max(map(len, text.splitlines())) <= 100
    assert "to tell t^0.4 from log t with 80% power" in text
    assert "fewest updates across seeds" in text.replace("Fewest", "fewest")
    assert "32, 128, 512, 1024, 4096" in " ".join(text.split())


def test_the_plan_is_json(found):
    content = json.loads(json.dumps(plan_table.content(found), allow_nan=False))
    assert content["question"]["exponent"] == 0.4
    assert len(content["options"]) == len(SEEDS)
    assert content["pilot"]["noise_share"] == 0.02


def test_the_command_plans_from_numbers(capsys):
    arguments = ["--noise", "0.02", "--onset", "3", "--exponent", "0.4", "--draws", "100"]
    assert main(["plan", *arguments, "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["options"][0]["updates"] > 0


def test_the_command_plans_from_a_recording(save, capsys):
    path = save(last=2000, noise=0.01)
    assert main(["plan", str(path), "--exponent", "0.5", "--draws", "100"]) == 0
    assert "pilot: run run" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "expected pilot recordings or a number"),
        (["--noise", "-1"], "noise_share: found"),
        (["--noise", "0.1", "--exponent", "0"], "exponent: found"),
        (["--noise", "0.1", "--seed", "-1"], "--seed: found -1"),
        (["--noise", "0.1", "--batch-size", "-3"], "batch_size: found -3"),
        (["--noise", "0.1", "--noise-scale", "-5"], "noise_scale: found -5"),
    ],
)
def test_bad_numbers_are_told_with_status_2(arguments, words, capsys):
    assert main(["plan", *arguments]) == 2
    assert words in capsys.readouterr().err
