import pytest

from ultraslow.probes.runs.config import Config
from ultraslow.probes.runs.jobs.display import Display

RUNS = [
    Config(name="small", batch_size=72, iterations=10),
    Config(name="large", batch_size=872, iterations=20),
]


@pytest.fixture
def display(capsys):
    with Display(RUNS) as shown:
        yield shown


def bar(display):
    return display._bar


def at(run, iteration):
    return {"event": "at", "run": run, "iteration": iteration, "loss": 0.5}


def test_runs_count_by_their_computing(display):
    # An update costs its images and as much as 128 more: 10·200 + 20·1000.
    assert bar(display).total == 22_000
    display.heard({"event": "start"})
    display.heard(at("large", 5))
    display.heard(at("small", 5))
    assert bar(display).n == 6000
    display.heard(at("large", 7))
    assert bar(display).n == 8000
    display.heard({"event": "end", "run": "small"})
    assert bar(display).n == 9000
    assert bar(display).desc == "0/2 runs  large  iteration 7  loss 0.500"


def test_a_failed_run_is_over_and_a_resumed_one_has_less_to_do(display):
    display.heard({"event": "resumed", "run": "large", "iteration": 15})
    assert bar(display).total == 7000
    display.heard(at("large", 16))
    assert bar(display).n == 1000
    display.heard({"event": "failed", "run": "small", "reason": "it broke"})
    assert bar(display).n == 3000
    display.heard(at("large", 20))
    assert bar(display).desc.startswith("1/2 runs")
    assert bar(display).n == bar(display).total


def test_one_run_needs_no_count(capsys):
    with Display(RUNS[:1]) as display:
        display.heard(at("small", 3))
        assert bar(display).desc == "small  iteration 3  loss 0.500"


def test_other_pixels_than_the_recipe_s_are_told_once(display, capsys):
    event = {"event": "images", "sha256": "ab" * 32, "expected": "cd" * 32}
    for run in ("small", "large"):
        display.heard({**event, "run": run})
    said = capsys.readouterr().err
    assert said.count("images: found pixels of digest abababababab") == 1
    assert "the recipe was made with cdcdcdcdcdcd" in said
