"""All commands in terminals of any width, in a pipe, and on a recording that means harm."""

import contextlib
import io
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from rich.cells import cell_len

from ultraslow.diffusion.cli import main
from ultraslow.diffusion.recording import write_file
from ultraslow.diffusion.terminal import grid_rows
from ultraslow.probes import cli as probes_cli

HARM = "<script>alert(1)</script>\x1b[31m\x1b]0;title\x07\u202eright\u2066\nnext\r\tend\u2028"
COMMANDS = {
    "info": ["info", "{runs}"],
    "info whole": ["info", "{runs}", "--verbose"],
    "info one": ["info", "{one}"],
    "fit": ["fit", "{runs}"],
    "fit whole": ["fit", "{runs}", "--verbose"],
    "test": ["test", "{runs}"],
    "test whole": ["test", "{runs}", "--verbose"],
    "compare": ["compare", "{runs}"],
    "noise": ["noise", "{runs}"],
    "batch": ["batch", "{runs}"],
    "where": ["info", "{runs}", "--where", "scaling == 'none'"],
    "import": ["import", "{log}", "--dry-run"],
    "label": ["label", "{copy}", "seed=7"],
    "repair": ["repair", "{copy}"],
    "recipes": ["sweep", "list"],
    "sweep": ["sweep", "demo", "--dry-run", "--scale", "0.1"],
    "plan": ["plan", "{runs}", "--draws", "100"],
    "plan numbers": ["plan", "--noise", "0.01", "--exponent", "0.5", "--draws", "100"],
    "verify": ["verify", "--updates", "50", "--processes", "2"],
    "no path": ["fit", "{runs}/nothing-of-this-name-is-here-whatever-it-may-be.nc"],
}
# Verifying trains in two processes.
EACH = [pytest.param(one, marks=[pytest.mark.slow] * (one == "verify")) for one in COMMANDS]


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


def printed(words, monkeypatch, stdout=io.StringIO, stderr=io.StringIO):
    """What a command prints to both streams, whatever status it ends with."""
    streams = [stdout(), stderr()]
    monkeypatch.setattr("sys.stdout", streams[0])
    monkeypatch.setattr("sys.stderr", streams[1])
    with contextlib.suppress(SystemExit):
        main(words)
    monkeypatch.undo()
    return "".join(stream.getvalue() for stream in streams)


def filled(words, folder):
    places = {"runs": folder, "one": folder / "a.nc", "log": folder / "log.csv"}
    return [word.format(copy=Path(f"{folder}-copy", "a.nc"), **places) for word in words]


def study(folder, make, save, change=lambda run: run):
    """Three short arms, a log, and a copy that commands may change."""
    for k, (size, seed) in enumerate(((64, 0), (64, 1), (256, 0), (256, 1))):
        run = make(run="abcd"[k], batch_size=size, seed=seed, last=300, noise=0.01)
        write_file(change(run), save(f"{'abcd'[k]}", folder, last=8))
    Path(f"{folder}-copy").mkdir()
    shutil.copy(folder / "a.nc", f"{folder}-copy")
    rows = [f"{step},{np.sqrt(step)},{2 / (1 + step)}" for step in (0, 1, 2, 5, 10, 20, 50)]
    (folder / "log.csv").write_text("\n".join(["step,distance,loss", *rows]))
    return folder


@pytest.fixture(scope="module")
def folder(make, tmp_path_factory):
    return study(tmp_path_factory.mktemp("runs"), make, _saved)


@pytest.fixture(scope="module")
def harm(make, tmp_path_factory):
    """Recordings whose names, labels and attributes hold what terminals and pages obey."""

    def change(run):
        name = f"{HARM}{run['run'].item()}"
        long = HARM + "y" * 10**5
        labels = dict.fromkeys(("model", "data", "optimizer", "scaling"), HARM)
        attrs = {
            "noise_absent": HARM,
            "note": HARM,
            "config": f'{{"ladder": "{long}", "x": [1, "{long}"]}}',
            "gaps": f'[[1, "{long}"], [4, 8]]',
            "events": f'[[1, "{long}"]]',
            "name\u202e<b>": long,
        }
        attrs = {key: text.replace("\n", "\\n") for key, text in attrs.items()}
        return run.assign_coords(run=name, **labels).assign_attrs(attrs)

    return study(tmp_path_factory.mktemp("harm"), make, _saved, change)


def _saved(name, folder, **_):
    return folder / f"{name}.nc"


@pytest.mark.parametrize("command", EACH)
@pytest.mark.parametrize("width", [40, 80])
def test_no_line_is_wider_than_the_terminal(folder, command, width, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("NO_COLOR", "1")
    text = printed(filled(COMMANDS[command], folder), monkeypatch, Screen, Screen)
    lines = [line.rsplit("\r", 1)[-1].replace("\x1b[K", "") for line in text.split("\n")]
    assert len(text) > 20
    assert [line for line in lines if cell_len(line) > width] == []


@pytest.mark.parametrize("command", EACH)
def test_a_pipe_gets_no_escape_codes_and_a_line_a_row(folder, command, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "40")
    text = printed(filled(COMMANDS[command], folder), monkeypatch)
    assert "\x1b" not in text and len(text) > 20
    assert "Not shown here" not in text
    if command == "info whole":
        rows = [line.split() for line in text.split("\n")[1:5]]
        assert [row[0] for row in rows] == ["a", "b", "c", "d"]
        assert {len(row) for row in rows} == {len(rows[0])}


@pytest.mark.parametrize("command", EACH)
def test_what_a_recording_says_is_shown_as_text(harm, command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("NO_COLOR", "1")
    # Progress bars, which move on one line, are for terminals alone.
    text = printed(filled(COMMANDS[command], harm), monkeypatch, Screen, io.StringIO)
    odd = {c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")}
    assert odd <= {"\n"}
    assert max(map(cell_len, text.split("\n"))) <= 5000 and len(text) < 50_000


@pytest.mark.parametrize("width", [30, 40, 60, 80, 100, None])
def test_modes_of_verify_keep_their_columns(width):
    checks = [{"estimate": 63.99, "low": 63.0, "high": 65.0}] * 3
    mode = {"mode": "DDP, unequal units", "passed": False, "checks": checks}
    cells = probes_cli._cells(mode)
    top, (widest, lines), _ = grid_rows(probes_cli._HEADS, [probes_cli._WIDEST, cells], width)
    assert cells == ["DDP, unequal units", "OFF", *["63.99 ± 1"] * 3]
    if width is None or width >= 80:
        assert len(lines) == 1 and len(lines[0]) == len(widest[0]) == len(top[0])
    else:
        assert max(map(len, [*top, *lines])) <= width and "63.99 ± 1" in " ".join(lines)


def test_the_page_of_a_recording_that_means_harm_runs_none_of_it(harm, tmp_path, monkeypatch):
    target = tmp_path / "report.html"
    printed(["report", str(harm), "--output", str(target)], monkeypatch)
    page = Path(target).read_text()
    assert "<script>alert" not in page and "\x1b" not in page and "\u202e" not in page
