import json

import pytest

from analysis.plan_command import plan as command
from diffusion.commands import main

# An exponent far from 0 asks for short runs, which are simulated in a moment.
QUICK = ["--exponent", "0.4", "--draws", "100"]
NOISY = ["--noise", "0.02", "--onset", "3"]


def planned(capsys, *arguments):
    """What the command prints as JSON."""
    assert main(["plan", *QUICK, *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_numbers_given_are_those_planned_from(capsys):
    numbers = [*NOISY, "--correlation", "0", "--seed-spread", "0.05"]
    found = planned(capsys, *numbers, "--batch-size", "64", "--noise-scale", "400")
    told = {"noise_share": 0.02, "onset": 3.0, "seed_spread": 0.05, "batch_size": 64}
    assert told.items() <= found["pilot"].items()
    assert found["pilot"]["noise"] == "white" and found["pilot"]["noise_scale"] == 400.0
    assert found["question"] == {"exponent": 0.4, "power": 0.8, "level": 0.95, "draws": 100}
    assert found["options"][0]["samples"] == 64 * found["options"][0]["updates"] > 0
    # 40, 126, 400, 1265, 4000 as powers of two.
    assert found["batch_sizes"] == [32, 128, 512, 1024, 4096]


def test_one_seed_gives_one_plan_and_another_level_another(capsys):
    first, again = (planned(capsys, *NOISY, "--seed", "5") for _ in range(2))
    assert first == again
    assert first["pilot"]["noise"] == "ar_log_t(length=0.5)"
    sure = planned(capsys, *NOISY, "--seed", "5", "--power", "0.9", "--level", "0.99")
    assert (sure["question"]["power"], sure["question"]["level"]) == (0.9, 0.99)
    assert sure["options"][0]["last"] > first["options"][0]["last"]


def test_a_recording_is_a_pilot(save, capsys):
    path = save(last=2000, noise=0.01)
    assert main(["plan", str(path), "--exponent", "0.5", "--draws", "100"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("to tell t^0.5 from log t with 80% power, level 0.95\npilot: run run,")
    assert max(map(len, text.splitlines())) <= 100


def test_numbers_beside_recordings_are_refused(capsys):
    assert main(["plan", "runs/pilot.nc", "--noise", "5", "--onset", "0"]) == 2
    told = capsys.readouterr().err
    assert "--noise, --onset: found beside PATH, expected either recordings or numbers" in told
    # Whatever was given is named as it was typed, a number of 0 too.
    assert main(["plan", "x.nc", "--seed-spread", "0", "--batch-size", "0"]) == 2
    assert "--seed-spread, --batch-size: found beside PATH" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "PATH, --noise: found neither, expected pilot recordings or a number"),
        (["--onset", "3"], "PATH, --noise: found neither"),
        (["--noise", "-1"], "noise_share: found -1.0, expected a finite number above 0"),
        (["--noise", "0.1", "--exponent", "0.05"], "expected a number beyond ±0.05"),
        (["--noise", "0.1", "--exponent", "50"], "exponent: found 50, expected a number between"),
        (["--noise", "0.1", "--power", "1"], "power: found 1.0, expected a number from 0.5 to 1"),
        (["--noise", "0.1", "--level", "0.4"], "level: found 0.4, expected"),
        (["--noise", "0.1", "--draws", "99"], "draws: found 99, expected 100 to 10000"),
        (["--noise", "0.1", "--onset", "1e9"], "onset: found 1e+09, expected at most"),
        (["--noise", "0.1", "--correlation", "-1"], "correlation: found -1.0"),
        (["--noise", "0.1", "--seed-spread", "-1"], "seed_spread: found -1.0"),
        (["--noise", "0.1", "--seed", "-1"], "--seed: found -1, expected 0 or more"),
        (["--noise", "0.1", "--batch-size", "-3"], "batch_size: found -3"),
        (["--noise", "0.1", "--noise-scale", "-5"], "noise_scale: found -5"),
        (["nowhere.nc"], "nowhere.nc"),
    ],
)
def test_bad_numbers_are_told_with_status_2(arguments, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["plan", *arguments]) == 2
    told = capsys.readouterr()
    assert words in told.err and told.out == ""


def test_the_help_has_an_example_that_the_command_takes():
    (example,) = [line for line in command.__doc__.splitlines() if "Example:" in line]
    assert example.strip() == "Example: ultraslow plan runs/pilot.nc --exponent 0.1"
