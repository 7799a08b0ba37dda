import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

import pytest
import xarray as xr

from ultraslow.analysis.cli.watching import _Screen
from ultraslow.diffusion.cli import main
from ultraslow.diffusion.recording import recorded_by, segments_of

SCRIPT = Path(__file__).parent / "live" / "small_run.py"
ROOT = Path(__file__).parents[3]
SOURCE, PAGE = ROOT / "src", ROOT / "docs/record/watching.md"
QUICK = ("--interval", "0.2")


def started(path, updates, pause, *, more=()):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(SOURCE)}
    words = [str(SCRIPT), str(path), str(updates), str(pause), f"{path}.pt"]
    return subprocess.Popen([sys.executable, *more, *words], env=environment)


def when(holds, do):
    """In a thread: wait until something holds, then do something."""

    def wait():
        until = time.monotonic() + 120
        while not holds() and time.monotonic() < until:
            time.sleep(0.05)
        do()

    thread = Thread(target=wait, daemon=True)
    thread.start()
    return thread


def test_a_training_is_waited_for_watched_killed_and_resumed(tmp_path, capsys):
    """With the same process number in its lease as long as it lives, and a zombie afterwards."""
    path = tmp_path / "run"
    first = started(path, 10_000, 0.01)
    enough = when(lambda: len(segments_of(path)) > 3 and Path(f"{path}.pt").exists(), first.kill)
    assert main(["watch", str(path), *QUICK]) == 1
    enough.join()
    out = capsys.readouterr().out
    assert f"waiting for {path}: no such file or folder" in out
    assert "run: live, iteration " in out
    killed = rf"killed: process {first.pid} is gone; up to (\d+) updates of its last 0\.2 s"
    lost = re.search(killed, out)
    assert lost
    assert 2 <= int(lost[1]) <= 22  # of 0.01 s at least
    assert out.split("\n")[-2].startswith("ended: run was killed after iteration ")
    first.wait()

    again = started(path, 60, 0.0)
    until = time.monotonic() + 100
    while recorded_by(path).pid != again.pid and time.monotonic() < until:
        time.sleep(0.05)
    assert main(["watch", str(path), *QUICK]) == 0
    again.wait()
    out = capsys.readouterr().out
    assert f"ended: run was closed after iteration 60: {path}.nc" in out
    assert "run: closed, iteration 60, distance " in out


@pytest.mark.slow
def test_two_processes_are_one_run(tmp_path, capsys):
    path = tmp_path / "run"
    words = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    training = started(path, 60, 0.01, more=words)
    assert main(["watch", str(path), *QUICK]) == 0
    assert training.wait() == 0
    assert "ended: run was closed after iteration 60" in capsys.readouterr().out


def test_a_recording_that_vanishes_ends_it(writer):
    live = writer().lease()
    live.put(0, 30)
    words = [sys.executable, "-u", "-m", "ultraslow", "watch", str(live.folder), *QUICK]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert "live: live, iteration " in process.stdout.readline()
        shutil.rmtree(live.folder)
        out = process.communicate(timeout=120)[0]
    assert process.returncode == 1
    assert "vanished: neither " in out
    assert "ended: live vanished after iteration " in out


def test_runs_that_ended_are_shown_and_that_is_all(save, tmp_path, capsys):
    for seed in range(2):
        save(f"r{seed}", tmp_path / "runs", seed=seed, last=300)
    assert main(["watch", str(tmp_path / "runs")]) == 0
    out = capsys.readouterr().out
    assert "r0: closed, iteration 300, distance " in out
    assert "exponent " in out
    assert out.endswith("ended: 2 runs, 2 closed\n")


def test_the_page_on_watching_runs_as_it_stands(save, tmp_path, monkeypatch, capsys):
    save("r", tmp_path / "runs", records=[0, 1, 2, 4, 8, 16, 32])
    monkeypatch.chdir(tmp_path)
    typed = re.findall(r"```\n(ultraslow .*?)\n```", PAGE.read_text())
    assert len(typed) == 3
    for line in typed:
        assert main(line.split()[1:]) == 0
    assert "r: closed, iteration 32" in capsys.readouterr().out
    assert 'data-reload="0"' in Path("live.html").read_text()
    assert Path("live.json").exists()


def test_once_prints_one_state(writer, dead, capsys):
    live = writer(last=300).lease()
    live.put(0, 40)
    assert main(["watch", "--once", str(live.folder)]) == 0
    assert "ended" not in capsys.readouterr().out
    live.lease(pid=dead)
    assert main(["watch", "--once", str(live.folder)]) == 1
    assert f"killed: process {dead} is gone" in capsys.readouterr().out


def test_what_cannot_be_is_told_in_a_line(tmp_path, save, capsys):
    assert main(["watch", "--once", str(tmp_path / "nowhere")]) == 2
    assert f"ultraslow watch: {tmp_path}/nowhere: no such file" in capsys.readouterr().err
    run = str(save("r", records=range(5)))
    for name, told in (("nowhere/live.html", "does not exist"), ("r.nc", "is a recording")):
        assert main(["watch", run, "--output", str(tmp_path / name)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert told in line
    assert main(["watch", run, "--output", str(tmp_path / "page.json")]) == 2
    assert "expected a page's name" in capsys.readouterr().err
    for text in ("0", "x", "nan"):
        with pytest.raises(SystemExit):
            main(["watch", run, "--interval", text])
        assert "expected seconds from 0.2" in capsys.readouterr().err
    (tmp_path / "bad.nc").write_bytes(b"")
    assert main(["watch", "--once", str(tmp_path / "bad.nc")]) == 1
    assert "bad.nc has zero bytes: `ultraslow repair" in capsys.readouterr().out


def test_a_file_of_another_kind_is_no_recording_that_could_be_repaired(tmp_path, capsys):
    xr.Dataset({"a": ("b", [1.0])}).to_netcdf(tmp_path / "other.nc")
    (tmp_path / "h.py").write_text("x = 1\n")
    for name, why in (("h.py", "is not a NetCDF file"), ("other.nc", "this is not a recording")):
        path = tmp_path / name
        assert main(["watch", str(path)]) == 1
        told = capsys.readouterr().out
        assert f"{name}: foreign, no record" in told
        assert why in told
        assert "repair" not in told
        assert f"ended: {name} is no recording: {path}" in told


def test_an_interrupt_leaves_a_page_that_does_not_load_itself(writer, tmp_path, capsys):
    live = writer(records=[0, 1, 2, 4, 8, 16]).lease()
    live.put(0, 6)
    page = tmp_path / "live.html"
    when(page.exists, lambda: (time.sleep(1.0), os.kill(os.getpid(), signal.SIGINT)))
    words = ["watch", str(live.folder), *QUICK, "--output", str(page)]
    assert main(words) == 130
    assert 'data-reload="0"' in page.read_text()
    assert "No longer followed." in page.read_text()


def test_a_terminal_is_drawn_anew(writer, monkeypatch, capsys):
    from ultraslow.analysis.cli.live.condition import Readings
    from ultraslow.analysis.cli.live.follow import Watched

    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    live = writer(records=range(12)).lease()
    with _Screen([str(live.folder)]) as screen:
        screen.show([])
        live.put(0, 12)
        found = [Readings().read(one, 1e9) for one in Watched([str(live.folder)]).look()]
        screen.show(found, "the disk is full")
    out = capsys.readouterr().out
    assert "\x1b[" in out
    assert "waiting for" in out
    assert "being fitted" in out
    assert "the disk is full" in out
