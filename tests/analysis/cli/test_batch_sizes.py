import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from ultraslow.diffusion.cli import main

FOLDER = Path(__file__).parents[3] / "docs" / "decide"
PAGES = "".join((FOLDER / name).read_text() for name in ("batch-sizes.md", "planning.md"))
CRITICAL = 600.0


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
    assert main(["batch", "runs", "--target", "0.9"]) == 0
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
    assert main(["batch", "runs", "--json", "--level", "0.9", "--seed", "3"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["low"] < CRITICAL < found["high"]
    assert found["status"] == "ok" and list(found["steps"]) == ["64", "256", "1024", "4096"]


@pytest.mark.parametrize(
    ("options", "arguments", "words"),
    [
        ({"sizes": (64, 256)}, [], "and those that do are 64, 256"),
        (
            {"seeds": 2, "sizes": (64, 256)},
            [],
            "those that do are 64, 256. Would give one: runs at 1 more batch size",
        ),
        ({}, ["--steps", "s"], "--steps: found beside recordings, expected a table"),
        (
            {},
            ["--target", "0.01"],
            "longer training at batch sizes 64, 256, 1024, or a higher",
        ),
        ({"loss": None}, [], "no critical batch size: no run recorded its loss"),
        ({"seeds": 1}, ["--target", "nan"], "--target: found nan, expected a finite loss"),
        ({"seeds": 1}, ["--seed", "-1"], "--seed: found -1"),
        ({"seeds": 0}, [], "runs"),
    ],
)
def test_what_is_missing_is_told_with_status_2(record, options, arguments, words, capsys):
    record(**{"sizes": (64, 256, 1024), **options})
    assert main(["batch", "runs", *arguments]) == 2
    told = capsys.readouterr()
    assert told.err.startswith("ultraslow batch: ") and words in told.err
    assert told.out == ""


def test_every_command_of_the_pages_runs_as_it_stands(record, capsys):
    record()
    Path("steps.csv").write_text(STEPS)
    fenced = re.findall(r"^```(\w*)\n(.*?)^```", PAGES, re.S | re.M)
    lines = [line for language, body in fenced if not language for line in body.splitlines()]
    assert {line.split()[1] for line in lines} == {"batch", "plan"}
    for line in lines:
        program, name, *words = shlex.split(line)
        fewer = (
            ["--draws", "100"] if name == "plan" else []
        )  # as it stands, in a fifth of the time
        assert (program, main([name, *words, *fewer])) == ("ultraslow", 0)
    printed = capsys.readouterr().out
    columns = re.findall(r"^\| ([a-z0 ]+) \|", PAGES, re.M)[1:]
    assert len(columns) == 4 and all(name in printed for name in columns)


def test_the_command_explains_itself(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["batch", "--help"])
    assert ended.value.code == 0
    assert "ultraslow batch" in capsys.readouterr().out.split("Example", 1)[1]


def test_fewer_seeds_tell_by_how_runs_differ_and_one_run_a_size_by_the_misfit(record, capsys):
    record(seeds=2)
    assert main(["batch", "runs", "--target", "0.9"]) == 0
    flat = " ".join(capsys.readouterr().out.split())
    assert "to loss 0.9, 8 runs" in flat and "how runs at a batch size differ" in flat
    sizes = "64, 256, 1024, 4096"
    assert f"An interval across seeds would need 2 more seeds each at batch sizes {sizes}" in flat
    for path in Path("runs").glob("*-s1.nc"):
        path.unlink()
    assert main(["batch", "runs", "--target", "0.9", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["basis"], found["seeds"]) == ("misfit", 0)
    assert found["low"] < CRITICAL * 1.05 and found["high"] > CRITICAL / 1.05


def test_noise_scales_stand_beside_the_critical_batch_size(record, capsys):
    record()
    assert main(["batch", "runs", "--target", "0.9"]) == 0
    text = capsys.readouterr().out
    assert text.count("noise scale B ") == 4 and "These need not agree" in text


# Two workloads in one table, of S = S_min·(1 + M_crit/M) rounded to whole steps.
STEPS = """model,batch,steps,remark
small,64,1038,
small,256,334,
small,1024,159,
small,4096,115,
large,64,32000,
large,256,8300,slow
large,1024,2140,
large,4096,never,
"""


def test_a_table_is_answered_for_each_group_and_its_columns_are_told(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    Path("steps.csv").write_text(STEPS)
    assert main(["batch", "steps.csv"]) == 0
    told = capsys.readouterr()
    flat = " ".join(told.out.split())
    assert flat.startswith(
        "batch size from batch; steps from steps; one answer each from model; not read: remark"
    )
    rows = {line.split()[0]: line.split() for line in told.out.splitlines() if "[" in line}
    assert float(rows["small"][1]) == pytest.approx(600, rel=0.02)
    assert "Large: batch size 4096 left out: 1 run did not reach the target." in flat
    assert "[" in rows["large"][2]
    # Rows of two models are not taken together for want of a question.
    assert main(["batch", "steps.csv", "--by", "remark"]) == 2
    err = capsys.readouterr().err
    assert "steps.csv: row 6: found another row like it but for the column model" in err


def test_a_table_of_one_group_shows_its_sizes_and_json_all(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("one.tsv").write_text("B\tS\n64\t1038\n256\t334\n1024\t159\n4096\t115\n")
    words = ["batch", "one.tsv", "--batch-size", "B", "--steps", "S"]
    assert main(words) == 0
    text = capsys.readouterr().out
    assert "over fewest" in text and ", 4 batch sizes; fewest" in text
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["columns"] == {"batch_size": "B", "steps": "S"}
    (answer,) = found["critical_batch"]
    assert answer["estimate"] == pytest.approx(600, rel=0.01) and answer["group"] == ""
    assert found["best_rates"] == []


def test_a_table_of_best_rates_tells_their_noise_scale(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("rates.csv").write_text("batch;lr\n16;0.0198\n64;0.0701\n256;0.2\n1024;0.3\n")
    assert main(["batch", "rates.csv"]) == 0
    flat = " ".join(capsys.readouterr().out.split())
    assert "Noise scale of the best rates" in flat and "one step of plain SGD" in flat


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "batch,steps\n" + "".join(f"{64 * 2**k},{64 * 2**k}\n" for k in range(6)),
            "No critical batch size: the iterations grow with the batch size, which no hyperbola "
            "does (p < 0.001); 6 batch sizes reached the target.",
        ),
        (
            "batch,lr\n" + "".join(f"{64 * 2**k},{1 / (1 + k)}\n" for k in range(6)),
            "No noise scale of best learning rates: the best rates fall with the batch size, "
            "which the form does not (p = 0.0016).",
        ),
    ],
)
def test_a_table_that_has_no_answer_says_why_once_with_status_2(
    tmp_path, monkeypatch, capsys, text, said
):
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text(text)
    assert main(["batch", "t.csv"]) == 2
    flat = " ".join(capsys.readouterr().out.split())
    assert said in flat and "interval" not in flat and flat.count("which ") == said.count("which ")
    assert main(["batch", "t.csv", "--json"]) == 2


def test_equal_steps_are_printed_as_other_numbers(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text("batch,steps\n" + "".join(f"{64 * 2**k},1000\n" for k in range(6)))
    assert main(["batch", "t.csv"]) == 0
    told = capsys.readouterr().out
    assert "e+" not in told and "fewest iterations 1000." in " ".join(told.split())


@pytest.mark.parametrize(
    ("text", "arguments", "words"),
    [
        ("batch,steps\n64,100\n", [], "3 batch sizes must reach a common target, and those that"),
        ("batch,steps\n64,100\n128,60\n", [], "those that do are 64, 128. Would give one: runs"),
        ("batch,lr\n64,0.1\n128,0.2\n", [], "best rates of 3 batch sizes are needed"),
        (
            "batch,steps\n64,-3\n",
            [],
            "t.csv: row 2, column steps: found '-3', expected a positive",
        ),
        ("batch,steps\n64,1\n", ["--target", "1"], "--target: found beside a table"),
        ("batch,steps\n64,1\n", ["x.nc"], "t.csv: found a table beside other paths"),
    ],
)
def test_what_is_wrong_with_a_table_is_told_with_status_2(
    tmp_path, monkeypatch, capsys, text, arguments, words
):
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text(text)
    assert main(["batch", "t.csv", *arguments]) == 2
    assert words in capsys.readouterr().err
