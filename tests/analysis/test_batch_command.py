import json
import re
import shlex
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest

from diffusion import commands

PAGE = Path(__file__).parents[2] / "docs" / "batch-sizes.md"
CRITICAL = 600.0


@pytest.fixture(autouse=True)
def _installed(monkeypatch):
    """The command under its name, whether or not the package was installed since it is there."""
    entry = EntryPoint("batch", "analysis.batch_command:batch", commands.GROUP)
    known = commands.commands() | {"batch": entry}
    monkeypatch.setattr(commands, "commands", lambda: known)


@pytest.fixture
def record(tmp_path, make, monkeypatch):
    """A function that records trainings whose loss is 2/(1 + t/(20·(1 + M_crit/M)))^½."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()

    def write(*, sizes=(64, 256, 1024, 4096), seeds=4, **options):
        for size in sizes:
            for seed in range(seeds):
                run = make(run=f"b{size}-s{seed}", batch_size=size, seed=seed, **options)
                training(run, size=size, seed=seed).to_netcdf(f"runs/b{size}-s{seed}.nc")

    return write


def training(run, *, size, seed):
    if "loss" not in run:
        return run
    ends = run["iteration"].values
    time = (ends + np.concatenate([[0], ends[:-1]]) + 1) / 2
    noise = np.exp(0.01 * np.random.default_rng([seed, size]).standard_normal(time.size))
    slow = 20 * (1 + CRITICAL / size)
    return run.assign(loss=("iteration", 2 * noise / np.sqrt(1 + time / slow)))


def test_the_critical_batch_size_is_told_with_what_it_rests_on(record, capsys):
    record()
    assert commands.main(["batch", "runs", "--target", "0.9"]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 100
    header, *rows = text.split("\n\n")[0].splitlines()
    titles = ["batch size", "iterations", "over fewest", "samples", "over fewest"]
    assert re.split("  +", header) == titles
    assert [row.split()[0] for row in rows] == ["64", "256", "1024", "4096"]
    # To 0.9 it takes (2/0.9)² − 1 = 3.938 times 20·(1 + 600/M), and 1 + 600/64 = 10.375.
    assert float(rows[0].split()[1]) == pytest.approx(3.938 * 20 * 10.375, rel=0.1)
    assert float(rows[0].split()[2]) == pytest.approx(10.375, rel=0.1)
    # E/E_min = 1 + M/M_crit = 1 + 4096/600
    assert float(rows[-1].split()[4]) == pytest.approx(7.83, rel=0.1)
    flat = " ".join(text.split())
    assert "Critical batch size" in flat and "to loss 0.9, 4 seeds" in flat
    assert "another quantity than the noise scale" in flat
    assert "Batch size 64 was run at one learning rate and is not tuned." in flat


def test_programs_get_the_numbers(record, capsys):
    record()
    assert commands.main(["batch", "runs", "--json", "--level", "0.9", "--seed", "3"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["low"] < CRITICAL < found["high"]
    assert found["status"] == "ok" and list(found["steps"]) == ["64", "256", "1024", "4096"]


@pytest.mark.parametrize(
    ("options", "arguments", "words"),
    [
        ({"sizes": (64, 256)}, [], "and those that do are 64, 256"),
        ({"seeds": 2}, [], "batch size 64 left out: fewer than 4 seeds"),
        ({}, ["--target", "0.01"], "batch size 64 left out: 4 runs did not reach the target"),
        ({"loss": None}, [], "no critical batch size: no run recorded its loss"),
        ({"seeds": 1}, ["--target", "nan"], "--target: found nan, expected a finite loss"),
        ({"seeds": 1}, ["--level", "1"], "--level: found 1.0"),
        ({"seeds": 1}, ["--seed", "-1"], "--seed: found -1"),
        ({"seeds": 0}, [], "runs"),
    ],
)
def test_what_is_missing_is_told_with_status_2(record, options, arguments, words, capsys):
    record(**{"sizes": (64, 256, 1024), **options})
    assert commands.main(["batch", "runs", *arguments]) == 2
    told = capsys.readouterr()
    assert told.err.startswith("ultraslow batch: ") and words in told.err
    assert told.out == ""


def test_every_command_of_the_page_runs_as_it_stands(record, capsys):
    record()
    fenced = re.findall(r"^```\n(.*?)^```", PAGE.read_text(), re.S | re.M)
    lines = [line for body in fenced for line in body.splitlines()]
    assert {line.split()[1] for line in lines} == {"batch", "plan"}
    for line in lines:
        program, name, *words = shlex.split(line)
        fewer = (
            ["--draws", "100"] if name == "plan" else []
        )  # as it stands, in a fifth of the time
        assert (program, commands.main([name, *words, *fewer])) == ("ultraslow", 0)
    printed = capsys.readouterr().out
    columns = re.findall(r"^\| ([a-z0 ]+) \|", PAGE.read_text(), re.M)[1:]
    assert len(columns) == 4 and all(name in printed for name in columns)


def test_the_command_explains_itself(capsys):
    with pytest.raises(SystemExit) as ended:
        commands.main(["batch", "--help"])
    assert ended.value.code == 0
    assert "ultraslow batch" in capsys.readouterr().out.split("Example", 1)[1]
