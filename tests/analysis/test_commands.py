import json

import pytest
import xarray as xr

from diffusion.commands import main

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
    assert "short-s0" in out
    assert "loss, noise, rate" in out
    assert "broken.nc\n  has zero bytes" in out


def test_info_as_json_holds_the_same(runs, capsys):
    assert main(["info", str(runs), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert [row["seed"] for row in content["recordings"]] == [0, 1]
    assert content["unusable"][0]["faults"] == ["has zero bytes"]


def test_fit_prints_and_writes_every_run_and_tensor(runs, tmp_path, capsys):
    target = tmp_path / "fits.nc"
    assert main(["fit", str(runs), "--tensors", "--output", str(target)]) == 0
    printed = capsys.readouterr()
    assert printed.out.count("short-s0") == 4
    assert "not used: " in printed.err
    with xr.open_datatree(target, engine="netcdf4") as written:
        assert written["exponent"].dims == ("node",)
        assert written["tensors/exponent"].shape == (2, 3)


def test_test_prints_all_verdicts(runs, capsys):
    assert main(["test", str(runs)]) == 0
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
    "output nowhere": (["fit", "{0}/runs", "--output", "{0}/x/y.nc"], "does not exist"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_done_ends_with_status_2_and_a_sentence(runs, tmp_path, capsys, case):
    (tmp_path / "empty").mkdir()
    words, message = REFUSED[case]
    assert main([word.format(tmp_path) for word in words]) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.out == ""


@pytest.mark.parametrize("level", ["1", "0.5", "x"])
def test_a_level_that_makes_no_sense_is_refused(runs, level):
    with pytest.raises(SystemExit) as caught:
        main(["test", str(runs), "--level", level])
    assert caught.value.code == 2


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
