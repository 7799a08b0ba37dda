import json
import os
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from ultraslow.analysis.cli import plan as command
from ultraslow.diffusion.cli import main
from ultraslow.diffusion.recording.contract import check
from ultraslow.diffusion.recording.netcdf import LENGTH, checksum
from ultraslow.diffusion.scaling import RULES
from ultraslow.diffusion.walks.recordings import KINDS

SHORT = {"records": [0, 1, 2, 4, 8, 16, 32, 64, 128, 256], "noise": 0.01}


@pytest.fixture
def runs(save, tmp_path):
    """A folder of two short runs and a broken file."""
    folder = tmp_path / "runs"
    for seed in range(2):
        save(f"short-s{seed}", folder, seed=seed, **SHORT)
    (folder / "broken.nc").write_bytes(b"")
    return folder


def test_info_lists_runs_and_faults(runs, capsys):
    assert main(["info", str(runs)]) == 0
    out = capsys.readouterr().out
    assert "2 recordings, 1 arm" in out and "0, 1" in out
    assert "loss, noise, rate" in out
    assert "broken.nc\n    has zero bytes" in out


def test_info_as_json_holds_the_same(runs, capsys):
    assert main(["info", str(runs), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert [row["seed"] for row in content["recordings"]] == [0, 1]
    assert content["unusable"][0]["faults"] == ["has zero bytes"]


@pytest.mark.parametrize("command", ["info", "fit", "test", "export"])
def test_a_condition_takes_some_of_the_runs(runs, capsys, command):
    assert main([command, str(runs), "--where", "batch_size == 64 and seed < 1"]) == 0
    told = capsys.readouterr()
    assert "1 of 2 recordings: batch_size == 64 and seed < 1" in told.err
    assert "short-s1" not in told.out


@pytest.mark.parametrize(
    ("condition", "told"),
    [
        ("sede == 1", "ultraslow info: --where: no name sede (seed?)\n"),
        ("seed > 9", "none of 2 recordings meets seed > 9; there seed is 0, 1\n"),
        ("print('x')", "expected names, numbers and quoted texts compared"),
    ],
)
def test_a_condition_that_makes_no_sense_is_told(runs, capsys, condition, told):
    assert main(["info", str(runs), "--where", condition]) == 2
    assert told in capsys.readouterr().err


def test_fit_prints_and_writes_every_run_and_tensor(runs, tmp_path, capsys):
    target = tmp_path / "fits.nc"
    assert main(["fit", str(runs), "--tensors", "--output", str(target)]) == 0
    printed = capsys.readouterr()
    assert printed.out.count("short-s0") == 4
    assert "not used: " in printed.err
    with xr.open_datatree(target, engine="netcdf4") as written:
        assert written["exponent"].dims == ("node",)
        assert written["tensors/exponent"].shape == (2, 3)


def test_arms_of_several_optimizers_are_told_apart_by_fit(save, tmp_path, capsys):
    folder = tmp_path / "arms"
    for optimizer, exponent in (("sgd", 0.5), ("adamw", 0.25)):
        for seed in range(3):
            options = {"seed": seed, "exponent": exponent, "optimizer": optimizer}
            save(f"{optimizer}-s{seed}", folder, last=3000, **options)
    assert main(["fit", str(folder)]) == 0
    arms = capsys.readouterr().out.strip().split("\n\n")[0]
    head, *lines = [line.split()[:2] for line in arms.split("\n")[1:]]
    assert (head, sorted(lines)) == (["of", "arm"], [["AdamW", "64"], ["SGD", "64"]])


def test_fit_begins_with_the_arms_whose_seeds_repeat(save, tmp_path, capsys):
    folder = tmp_path / "arms"
    for size, exponent in ((64, 0.5), (256, 0.25)):
        for seed in range(3):
            options = {"batch_size": size, "seed": seed, "exponent": exponent, "last": 3000}
            save(f"b{size}-s{seed}", folder, **options)
    save("b1024-s0", folder, batch_size=1024, last=3000)
    assert main(["fit", str(folder)]) == 0
    arms, note, runs, hint = capsys.readouterr().out.strip().split("\n\n")
    lines = [line.split() for line in arms.split("\n")[2:]]
    assert [(line[0], line[4], line[5]) for line in lines] == [
        ("64", "contradicted", "3"),
        ("256", "contradicted", "3"),
    ]
    for line, exponent in zip(lines, (0.5, 0.25), strict=True):
        low, high = (float(end.strip("[],")) for end in line[2:4])
        assert low < exponent < high and low > 0.05
    assert note == "1 other arm without three seeds that can be judged."
    assert runs.split("\n")[1].split() == ["run", "p", "interval", "remark"]
    assert len(runs.split("\n")) == 9 and hint.startswith("`--verbose`")
    assert main(["fit", str(folder), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert [arm["verdict"] for arm in content["arms"]] == ["contradicted"] * 2
    assert content["arms"][0]["nodes"] == ["b64-s0", "b64-s1", "b64-s2"]
    assert main(["fit", str(folder), "--verbose"]) == 0
    whole = capsys.readouterr().out
    assert "by windows" in whole and "tells ≥" in whole and "--verbose" not in whole


def falling(save, folder, name="falling"):
    """A run whose rate falls at every record, and whose distance goes like (Ση)^½."""
    records = np.append(0, np.unique(np.geomspace(1, 3000, 40).astype(int)))
    rate = 0.1 / np.sqrt(np.maximum(records, 1))
    summed = 0.2 * np.sqrt(records.astype(float))
    squares = np.outer(summed, [0.6, 0.3, 0.1]) * (1 + 1e-3 * np.sin(records))[:, None]
    given = {"learning_rate": rate, "learning_rate_sum": summed, "distance_sq": squares}
    save(name, folder, records=records, **given)


def test_fit_follows_a_rate_that_changes_by_its_sum(save, tmp_path, capsys):
    falling(save, tmp_path / "runs")
    target = tmp_path / "fits.nc"
    assert main(["fit", str(tmp_path / "runs"), "--json", "--output", str(target)]) == 0
    printed = capsys.readouterr()
    content = json.loads(printed.out)
    assert content["fits"][0]["exponent"] is None
    assert content["learning_rate_sum"][0]["exponent"] == pytest.approx(0.5, abs=0.05)
    assert "not fitted" not in printed.err
    with xr.open_datatree(target, engine="netcdf4") as written:
        assert written["learning_rate_sum/clock"].values.tolist() == ["learning_rate_sum"]
    assert main(["fit", str(tmp_path / "runs")]) == 0
    assert "t is Ση, over all records" in capsys.readouterr().out


def test_fit_is_made_on_the_clock_that_was_asked_for(save, tmp_path, capsys):
    falling(save, tmp_path / "runs")
    arguments = ["fit", str(tmp_path / "runs"), "--json", "--clock"]
    assert main([*arguments, "iteration"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["fits"]
    assert row["status"] == "rate_changed"
    assert row["exponent"] == pytest.approx(0.25, abs=0.05)
    assert main([*arguments, "update_sq"]) == 2
    assert "found no update_sq, expected one that is there (iteration," in capsys.readouterr().err
    assert main([*arguments, "samples", "--tensors"]) == 2
    assert "--clock: found beside --tensors" in capsys.readouterr().err


def test_test_prints_a_line_a_verdict(runs, capsys):
    assert main(["test", str(runs)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Logarithmic growth: undecidable. None of the 2 runs can be used")
    lines = [line.split()[0] for line in out.splitlines() if "  undecidable  " in line]
    assert {"P1", "P2", "P10", "H-c"} < set(lines) and len(lines) == 15
    assert "Only batch size 64" not in out


def test_test_prints_all_reasons_when_asked(runs, capsys):
    assert main(["test", str(runs), "--verbose"]) == 0
    out = capsys.readouterr().out
    assert out.count("UNDECIDABLE") == 1
    assert out.count(" undecidable (") >= 10
    assert "Only batch size 64 was run under the √M rule." in out
    assert max(map(len, out.splitlines())) <= 100


def test_test_as_json_is_strict(runs, capsys):
    assert main(["test", str(runs), "--json"]) == 0

    def refuse(constant):
        raise AssertionError(constant)

    rows = json.loads(capsys.readouterr().out, parse_constant=refuse)["verdicts"]
    assert {"P1", "P2", "P10"} <= {row["prediction"] for row in rows}
    assert rows[0]["effect"] is None


def test_noise_tells_the_scale_of_each_arm_and_who_was_left_out(save, tmp_path, capsys):
    folder = tmp_path / "noisy"
    for seed in range(3):
        save(f"n-s{seed}", folder, seed=seed, last=2000)
    save("n-short", folder, seed=9, records=[0, 1, 2, 4, 8, 16])
    assert main(["noise", str(folder)]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "1–2000" in text and "seeds below" in text
    assert "n-short has finite gradient noise in 16 of 2000 iterations" in text
    assert main(["noise", str(folder), "--json", "--level", "0.9"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["noise"]
    assert (row["scale"]["first_iteration"], row["scale"]["last_iteration"]) == (1, 2000)
    assert (row["scale"]["seeds"], row["runs"], len(row["left_out"])) == (3, 3, 1)
    assert row["scale"]["low"] < 200 * 1.05 and row["scale"]["high"] > 200 * 0.95


def test_noise_without_any_says_what_is_needed(save, tmp_path, capsys):
    bare = {"gradient_sq": None, "noise_trace": None, "noise_updates": None}
    save("bare", tmp_path / "bare", **bare, **SHORT)
    assert main(["noise", str(tmp_path / "bare")]) == 2
    assert "found no recording with gradient noise, expected one made" in capsys.readouterr().err
    save("brief", tmp_path / "brief", records=[0, 1, 2])
    assert main(["noise", str(tmp_path / "brief")]) == 2
    assert "2 windows with gradient noise, 4 needed" in " ".join(capsys.readouterr().out.split())


@pytest.fixture
def powers(save, tmp_path):
    """A folder of three runs that grow like √t, and one too short to compare."""
    folder = tmp_path / "powers"
    for seed in range(3):
        save(f"power-s{seed}", folder, seed=seed, exponent=0.5)
    save("short", folder, batch_size=256, last=20)
    return folder


def test_compare_prints_and_writes_the_laws_of_every_arm(powers, tmp_path, capsys):
    target = tmp_path / "laws.nc"
    assert main(["compare", str(powers), "--output", str(target)]) == 0
    printed = capsys.readouterr()
    assert "batch size 64: iterations 1 to 3000, 3 seeds" in printed.out
    rows = [line.split() for line in printed.out.splitlines()]
    assert ["power", "yes"] in [row[:2] for row in rows]
    assert ["log", "no"] in [row[:2] for row in rows]
    assert "not compared: batch size 256: " in printed.err
    with xr.open_dataset(target, engine="netcdf4") as written:
        assert written["survives"].sel(arm="batch size 64", law="power")
        assert written.attrs["level"] == 0.95


def test_compare_as_json_holds_the_same(powers, capsys):
    assert main(["compare", str(powers), "--json", "--level", "0.9"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["level"] == 0.9
    arm, short = content["arms"]
    survives = {row["law"]: row["survives"] for row in arm["laws"]}
    assert (survives["power"], survives["log"]) == (True, False)
    assert list(survives.values()) == sorted(survives.values(), reverse=True)
    assert short["laws"] == []
    assert "forecasts need 2 decades" in short["reason"]


def test_compare_of_short_runs_alone_has_status_2(runs, capsys):
    assert main(["compare", str(runs)]) == 2
    assert "not compared: batch size 64: 9 records over 2.4 decades" in capsys.readouterr().err


def test_report_writes_the_page_and_its_numbers(runs, tmp_path, capsys):
    assert main(["report", str(runs), "--output", str(tmp_path / "page.html")]) == 0
    assert str(tmp_path / "page.html") in capsys.readouterr().out
    assert (
        json.loads((tmp_path / "page.json").read_text("utf-8"))["inputs"][0]["run"] == "short-s0"
    )


REFUSED = {
    "no such path": (["test", "{0}/none.nc"], "none.nc: no such file or folder"),
    "nothing usable": (["fit", "{0}/runs/broken.nc"], "broken.nc: has zero bytes"),
    "empty folder": (["info", "{0}/empty"], "the folder holds no recordings"),
    "output is a folder": (
        ["report", "{0}/runs", "--output", "{0}/empty"],
        "expected a file name",
    ),
    "fits over a recording": (
        ["fit", "{0}/runs", "--output", "{0}/runs/short-s0.nc"],
        "is a recording, expected another name",
    ),
    "laws over a recording": (
        ["compare", "{0}/runs", "--output", "{0}/runs/short-s0.nc"],
        "is a recording, expected another name",
    ),
    "page over a recording": (
        ["report", "{0}/runs", "--output", "{0}/runs/short-s0.nc"],
        "is a recording, expected another name",
    ),
    "page over its numbers": (
        ["report", "{0}/runs", "--output", "{0}/page.json"],
        "expected a page's name",
    ),
    "a pipe": (["report", "{0}/runs", "--output", "{0}/pipe"], "is no regular file"),
    "page over what may be a damaged recording": (
        ["report", "{0}/runs", "--output", "{0}/cut"],
        "perhaps a damaged recording",
    ),
    "table named as a recording": (
        ["export", "{0}/runs", "--output", "{0}/new.nc"],
        "expected a name of another kind, such as runs.csv",
    ),
    "output in a store": (
        ["fit", "{0}/runs", "--output", "s3://bucket/fits.nc"],
        "--output: found the URL s3:/bucket/fits.nc, expected a name on a disk",
    ),
    "imported to a store": (
        ["import", "{0}/runs/x.csv", "--output", "s3://bucket/runs"],
        "--output: found the URL s3:/bucket/runs, expected a name on a disk",
    ),
    "simulated in a store": (
        ["simulate", "law", "--folder", "memory://simulated"],
        "--folder: found the URL memory:/simulated, expected a name on a disk",
    ),
    "output nowhere": (["fit", "{0}/runs", "--output", "{0}/x/y.nc"], "does not exist"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_done_ends_with_status_2_and_a_sentence(runs, tmp_path, capsys, case):
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "cut").write_bytes((tmp_path / "runs" / "short-s0.nc").read_bytes()[:3000])
    words, message = REFUSED[case]
    assert main([word.format(tmp_path) for word in words]) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.out == ""
    assert (tmp_path / "pipe").is_fifo() and not Path("s3:").exists()


@pytest.mark.parametrize("level", ["1", "0.5", "x", "nan"])
@pytest.mark.parametrize("command", ["fit", "test", "report", "noise", "batch", "plan"])
def test_a_level_that_makes_no_sense_is_refused(command, level, capsys):
    """All commands say it in the same words."""
    with pytest.raises(SystemExit) as caught:
        main([command, "runs", "--level", level])
    assert caught.value.code == 2
    told = f"--level: found {level}, expected a number from 0.8 to 0.99"
    assert told in capsys.readouterr().err


def test_a_terminal_escape_in_a_run_name_is_not_printed(save, tmp_path, capsys):
    save("evil", tmp_path / "evil", run="\x1b[2Jgone\u202e", **SHORT)
    for words in (["info"], ["fit"], ["fit", "--tensors"], ["test"]):
        assert main([words[0], str(tmp_path / "evil"), *words[1:]]) == 0
        printed = capsys.readouterr()
        assert not set(printed.out + printed.err) & {"\x1b", "\u202e"}


@pytest.mark.parametrize("command", ["fit", "test", "report"])
def test_runs_that_no_law_fits_are_named_and_end_with_status_2(
    save, make, tmp_path, monkeypatch, capsys, command
):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "two.nc"
    make(run="two").isel(iteration=[0, 1]).to_netcdf(path, engine="netcdf4")
    assert main([command, str(path)]) == 2
    assert f"not fitted: {path}: 1 record" in capsys.readouterr().err


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
        (["--noise", "-1"], "--noise: found -1.0, expected a finite number above 0"),
        (["--noise", "0.1", "--exponent", "0.05"], "expected a number beyond ±0.05"),
        (
            ["--noise", "0.1", "--exponent", "50"],
            "--exponent: found 50, expected a number",
        ),
        (
            ["--noise", "0.1", "--power", "1"],
            "--power: found 1.0, expected a number from 0.5",
        ),
        (["--noise", "0.1", "--draws", "99"], "--draws: found 99, expected 100 to 10000"),
        (["--noise", "0.1", "--onset", "1e9"], "--onset: found 1e+09, expected at most"),
        (["--noise", "0.1", "--correlation", "-1"], "--correlation: found -1.0"),
        (["--noise", "0.1", "--seed-spread", "-1"], "--seed-spread: found -1.0"),
        (["--noise", "0.1", "--seed", "-1"], "--seed: found -1, expected 0 or more"),
        (["--noise", "0.1", "--batch-size", "-3"], "--batch-size: found -3"),
        (["--noise", "0.1", "--noise-scale", "-5"], "--noise-scale: found -5"),
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


SMALL = ["--batch-sizes", "8", "32", "--seeds", "1", "--iterations", "50"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_writes_sound_recordings_with_their_truth(tmp_path, capsys, kind):
    assert main(["simulate", kind, "--folder", str(tmp_path), *SMALL]) == 0
    written = capsys.readouterr().out.split()
    assert len(written) == 2
    for path in written:
        recording = xr.load_dataset(path)
        check(recording, path)
        assert json.loads(recording.attrs["truth"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sinai"], "sinai"),
        (["law", "--set", "p"], "--set: found 'p', expected NAME=VALUE"),
        (["law", "--set", "nonsense=1"], "nonsense"),
        (["law", "--scaling", "cubic"], "cubic"),
        (["law", "--set", "parameters=[1]"], "parameters: found [1], expected a mapping"),
        (["law", "--scaling", "exact_sqrt"], "data_size: found None"),
        (["field", "--data-size", "16"], "batch_size: found 32, expected at most data_size 16"),
    ],
)
def test_faults_name_what_was_found(tmp_path, capsys, arguments, message):
    assert main(["simulate", *arguments, "--folder", str(tmp_path), *SMALL]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_can_be_asked_for(tmp_path, capsys, rule):
    asked = ["--scaling", rule, "--data-size", "128", "--folder", str(tmp_path)]
    assert main(["simulate", "drift", *asked, *SMALL]) == 0
    large = xr.load_dataset(capsys.readouterr().out.split()[1])
    assert large["data_size"] == 128
    ratio = {"fixed": 1, "sqrt": 2, "exact_sqrt": (4 * (15 / 16) / (3 / 4)) ** 0.5, "linear": 4}
    assert large["learning_rate"][-1] == pytest.approx(0.1 * ratio[rule])


def test_nothing_is_overwritten(tmp_path, capsys):
    command = ["simulate", "law", "--folder", str(tmp_path), *SMALL]
    assert main(command) == 0
    assert main(command) == 2
    assert "exists already" in capsys.readouterr().err


def test_sizes_below_one_are_refused(tmp_path, capsys):
    command = ["simulate", "law", "--folder", str(tmp_path), "--batch-sizes", "0"]
    assert main(command) == 2
    assert "found [0], 2, expected 1 or more" in capsys.readouterr().err


def test_a_flipped_bit_is_found(tmp_path, capsys):
    """Anywhere in the file: what is written is sealed."""
    assert main(["simulate", "law", "--folder", str(tmp_path), *SMALL]) == 0
    path = sorted(tmp_path.iterdir())[0]
    whole = path.read_bytes()
    assert checksum(whole) is not None
    for at in (200, len(whole) // 2, len(whole) - LENGTH - 1):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert main(["info", str(path)]) == 2
        assert "its bytes do not fit its checksum" in capsys.readouterr().err


def test_equal_sizes_are_refused(tmp_path, capsys):
    command = ["simulate", "law", "--folder", str(tmp_path), "--batch-sizes", "64", "64"]
    assert main(command) == 2
    assert "found [64, 64], expected different ones" in capsys.readouterr().err


def test_walkers_at_the_end_of_their_grid_are_told_of(tmp_path, capsys):
    command = ["simulate", "line", "--set", "reach=20", "--folder", str(tmp_path), *SMALL]
    assert main([*command, "--iterations", "100000"]) == 0
    told = capsys.readouterr().err.splitlines()
    assert told[0].startswith("ultraslow simulate: warning: edge probability reaches")
