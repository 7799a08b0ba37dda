"""`ultraslow info`: arms, flags, one recording in full."""

import json

import pytest
import xarray as xr

from ultraslow.analysis.cli.inventory import remarks
from ultraslow.analysis.report import inputs
from ultraslow.diffusion.cli import main
from ultraslow.diffusion.recording import write_file

FEW = [0, 1, 2, 4, 8]
LONG = "a-very-long-run-name-with-many-settings-in-it-b1024-s0"


def told(capsys, *words):
    assert main(["info", *map(str, words)]) == 0
    return capsys.readouterr().out


@pytest.fixture
def study(save, tmp_path):
    """Two arms of three seeds, one of which diverged."""
    folder = tmp_path / "runs"
    for size in (64, 256):
        for seed in range(3):
            save(f"b{size}-s{seed}", folder, batch_size=size, seed=seed, records=FEW)
    squares = [[k * share for share in (0.6, 0.3, 0.1)] for k in (0, 1, 2, float("nan"))]
    squares.append([float("nan")] * 3)
    save("b256-s2", folder, batch_size=256, seed=2, records=FEW, distance_sq=squares)
    return folder


def test_an_arm_is_a_line_with_its_seeds(study, capsys):
    lines = told(capsys, study).splitlines()
    assert lines[0] == "6 recordings, 2 arms (batch size, and what else)"
    assert lines[2].split()[:5] == ["64", "0–2", "8", "closed", "3"]
    assert lines[3].split("  ")[0] == "256" and "2 closed, 1 diverged" in lines[3]
    assert "b256-s2: no finite distance after iteration 2 of 8" in lines
    assert "`--verbose` has a line for each run and its file." in lines


def test_a_run_is_a_line_with_its_file_when_asked(study, capsys):
    lines = told(capsys, study, "--verbose").splitlines()
    assert lines[1].split()[:6] == ["b64-s0", "64", "0", "8", "0.90", "closed"]
    assert lines[1].endswith("b64-s0.nc") and lines[6].split()[5] == "diverged"


def test_programs_get_both(study, capsys):
    content = json.loads(told(capsys, study, "--json"))
    assert [row["arm"] for row in content["arms"]] == ["64", "256"]
    assert content["arms"][1]["states"] == {"closed": 2, "diverged": 1}
    assert [row["flag"] for row in content["recordings"]].count("diverged") == 1
    assert content["gaps"] == []


def test_one_recording_is_shown_in_full(save, capsys):
    path = save(LONG, last=100, tensor_size=[25_000_000, 500_000, 57_000], data_size=1024)
    lines = told(capsys, path).splitlines()
    shown = dict(line.split("  ", 1) for line in lines if "  " in line.strip())
    assert shown["file"].strip() == str(path) and shown["run"].strip() == LONG
    assert "25.6M in 3 tensors" in shown["weights"]
    assert "seed 0" in shown["labels"] and "data_size 1024" in shown["labels"]
    assert "learning_rate" in shown["fields"] and "depth 8" in shown["config"]
    assert any(line.startswith("no step_sq in this recording (for P9") for line in lines)


def test_many_remarks_are_cut_to_the_first(save, tmp_path, capsys):
    folder = tmp_path / "runs"
    gaps = json.dumps([[k, k + 1] for k in range(20)])
    for seed in range(2):
        save(f"s{seed}", folder, seed=seed, records=FEW)
    run = xr.load_dataset(folder / "s0.nc").assign_attrs(gaps=gaps)
    write_file(run, folder / "s0.nc")
    lines = told(capsys, folder).splitlines()
    assert "13 more, which `--verbose` has" in lines
    assert sum("they were lost" in line for line in lines) == 7
    whole = told(capsys, folder, "--verbose").splitlines()
    assert sum("they were lost" in line for line in whole) == 20


def test_names_are_shown_whole(save, tmp_path, capsys):
    folder = tmp_path / "runs"
    save("long", folder, run=LONG, last=1_000_000, records=[0, 1, 2, 1_000_000])
    save("wide", folder, run="距離" * 5, seed=1, records=FEW)
    lines = told(capsys, folder, "--verbose").splitlines()
    assert lines[1].split()[:4] == [LONG, "64", "0", "1000000"]
    assert "距離距離" in lines[2] and "loss, noise, rate" in lines[2]


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("live", "a: live (last written 2000-02-29 12:34:56 UTC, "),
        ("killed", "a: killed, not closed (last written 2000-02-29 12:34:56 UTC, "),
        ("live on gpu7?", "a: live on gpu7? (last written 2000-02-29 12:34:56 UTC, "),
    ],
)
def test_a_killed_run_is_told_from_a_living_one(make, tree, state, said):
    written = {"state": state, "written": "2000-02-29T12:34:56+00:00"}
    runs = tree(
        make(run="a", records=FEW).assign_attrs(written),
        make(run="b", records=FEW).assign_attrs(state="closed"),
    )
    (line,) = remarks(inputs(runs), {})
    assert line.startswith(said) and line.endswith(" d ago)")


def test_a_live_run_without_a_time_is_told_by_its_state(make, tree):
    run = make(run="a", records=FEW).assign_attrs(state="live", written="yesterday")
    assert remarks(inputs(tree(run)), {}) == ("a: live",)


def test_copies_and_odd_runs_are_told(save, tmp_path, make, capsys):
    folder = tmp_path / "odd"
    for seed in range(5):
        save(f"s{seed}", folder, seed=seed, slope=9.0 if seed == 2 else 1.0)
    copy = make(run="copy", seed=12)
    copy = copy.assign(distance_sq=make(seed=1)["distance_sq"])
    copy.to_netcdf(folder / "copy.nc", engine="netcdf4")
    other = make(seed=4).assign_coords(run="other", optimizer="adamw")
    other.to_netcdf(folder / "other.nc", engine="netcdf4")
    out = " ".join(told(capsys, "info", str(folder)).split())
    assert "is a copy of another, with the same distance at every record: copy.nc of s1.nc" in out
    assert "labels differ (optimizer): s4.nc and other.nc" in out
    assert "s2 differs from the other 4 seeds at batch size 64" in out
    assert "missing at all arms" not in out  # the copy's label is the seed of nothing
