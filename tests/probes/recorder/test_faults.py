"""Faults that are really caused: kills, full disks, vanished folders, damaged files."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
import resume_run as runs
import torch
import xarray as xr
from faults import SOURCE, assert_at_most_one_flush_lost, kills, run

from ultraslow import probes
from ultraslow.diffusion.recording import events_of, read_file
from ultraslow.probes.storage.segments import SegmentStore


@pytest.mark.parametrize(("processes", "victim", "trials"), [(1, 0, 4), (2, 1, 2)])
def test_killed_at_random_moments(tmp_path, processes, victim, trials):
    outcomes = kills(tmp_path, trials=trials, processes=processes, victim=victim)
    assert len(outcomes) == trials
    assert max(recorded for _, recorded in outcomes) > 0
    assert_at_most_one_flush_lost(outcomes, processes=processes)


def test_a_flush_that_fails_stops_no_training_that_has_hooks_of_its_own(tmp_path):
    """A recorder that detaches within a step must leave the optimizer's other hooks alone."""
    model = runs.network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder = probes.attach(model, optimizer, tmp_path / "run", batch_size=8)
    called = []
    optimizer.register_step_post_hook(lambda *_: called.append(1))

    def failing(*_, **__):
        raise RuntimeError("another process died")

    recorder._flushes._depart = failing
    with pytest.warns(RuntimeWarning, match="could not be collected: another process died"):
        for iteration in range(1, 10):
            runs.update(model, optimizer, None, runs.microbatches(iteration))
    assert len(called) == 9
    probes.attach(model, optimizer, tmp_path / "other", batch_size=8).close()


def test_a_step_of_the_recorder_that_was_broken_off_ends_the_recording(tmp_path, monkeypatch):
    """As by the exception of an alarm's handler; labels after it would be guesses."""
    recorder, train = run(tmp_path / "run", schedule=range(40))
    train(1, 7)

    class Alarm(Exception):
        pass

    def ring(*_, **__):
        raise Alarm

    with monkeypatch.context() as patch:
        patch.setattr(recorder._rows, "read", ring)
        with pytest.raises(Alarm):
            train(7, 8)
    with pytest.warns(RuntimeWarning, match="stopped after iteration 7: Alarm came amid a step"):
        train(8, 10)
    recorder.close()
    records = SegmentStore(tmp_path / "run").read()
    assert records["iteration"].values.tolist() == list(range(7))


def test_records_that_cannot_be_packed_stop_no_training(tmp_path):
    """Nothing that goes wrong in writing may reach the training loop."""
    recorder, train = run(tmp_path / "run")
    train(1, 7)
    recorder._writer.static = {**recorder._writer.static, "tensor": ["one name for four"]}
    with pytest.warns(RuntimeWarning) as told:
        train(7, 12)
        recorder.close()
    assert "could not write" in str(told[0].message)
    records = SegmentStore(tmp_path / "run").read()
    assert records["iteration"].values.tolist() == list(range(6))


def fill(disk):
    """Take all the room there is."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        while True:
            file.write(bytes(512))
    return ballast


def test_a_full_disk_stops_nothing_and_loses_nothing_once_it_has_room(small_disk):
    recorder, train = run(small_disk / "run")
    train(1, 7)
    ballast = fill(small_disk)
    with pytest.warns(RuntimeWarning, match="could not write") as caught:
        train(7, 12)
    assert len(caught) == 1
    ballast.unlink()
    train(12, 14)
    closed = xr.load_dataset(recorder.close())
    assert closed["iteration"].values.tolist() == list(range(14))


def test_a_disk_that_stays_full_is_told_of_and_the_rest_can_be_read(small_disk):
    recorder, train = run(small_disk / "run")
    train(1, 7)
    fill(small_disk)
    with pytest.warns(RuntimeWarning) as caught:
        train(7, 9)
        assert recorder.close() == small_disk / "run"
    told = " ".join(str(warning.message) for warning in caught)
    assert "lost 3 records at its end" in told
    assert "was left live" in told
    records = SegmentStore(small_disk / "run").read()
    assert records["iteration"].values.tolist() == list(range(6))


def test_a_removed_folder_is_no_reason_to_stop(tmp_path):
    recorder, train = run(tmp_path / "run")
    train(1, 7)
    for file in (tmp_path / "run").iterdir():
        file.unlink()
    (tmp_path / "run").rmdir()
    (tmp_path / "run").write_text("a file in the way")
    with pytest.warns(RuntimeWarning) as caught:
        train(7, 9)
        recorder.close()
    assert "could not write" in str(caught[0].message)


def test_more_than_is_kept_in_memory_is_thinned_out_and_counted(tmp_path):
    recorder, train = run(tmp_path / "run", schedule=range(60))
    recorder._writer.held_bytes = 12_000
    train(1, 7)
    (tmp_path / "run").rename(tmp_path / "away")
    with pytest.warns(RuntimeWarning) as caught:
        train(7, 60)
    assert "every second record that waits is dropped" in str(caught[1].message)
    (tmp_path / "away").rename(tmp_path / "run")
    closed = xr.load_dataset(recorder.close())
    iterations = closed["iteration"].values.tolist()
    assert iterations[:6] == list(range(6))
    assert iterations[-1] == 59
    assert len(iterations) + int(closed.attrs["records_dropped"]) == 60


def test_a_second_recorder_of_a_path_is_refused(tmp_path):
    recorder, train = run(tmp_path / "run")
    train(1, 7)
    for resume in (None, True):
        with pytest.raises(
            FileExistsError, match=r"this process records at .*/run already; close"
        ):
            run(tmp_path / "run", resume=resume)
    train(7, 9)
    assert recorder.close() == tmp_path / "run.nc"


def test_the_first_recorder_stops_when_another_machine_took_over(tmp_path):
    recorder, train = run(tmp_path / "run")
    train(1, 7)
    lease = tmp_path / "run" / "lease.json"
    elsewhere = {"host": "elsewhere", "machine": "another"}
    lease.write_text(json.dumps({**json.loads(lease.read_text()), **elsewhere}))
    with pytest.warns(RuntimeWarning, match="the weights are 0 from the initial ones"):
        second, later = run(tmp_path / "run", resume=3)
    with pytest.warns(RuntimeWarning, match="stopped: .* another process records here"):
        train(7, 9)
    later(4, 8)
    recorder.close()
    closed = xr.load_dataset(second.close())
    assert closed["iteration"].values.tolist() == list(range(8))


SIGTERM = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from faults import run
if sys.argv[2] == "host":
    signal.signal(signal.SIGTERM, lambda *_: print("host", flush=True))
recorder, train = run(sys.argv[1], close_on_sigterm=sys.argv[2] != "off")
train(1, 9)
os.kill(os.getpid(), signal.SIGTERM)
train(9, 12)
recorder.close()
"""


@pytest.mark.parametrize(
    ("mode", "code", "last", "state"),
    [
        ("default", -signal.SIGTERM, 8, "closed"),
        ("host", 0, 11, "closed"),
        ("off", -signal.SIGTERM, -1, "live"),
    ],
)
def test_sigterm(tmp_path, mode, code, last, state):
    script = SIGTERM.format(tests=str(Path(__file__).parents[1]))
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "run", mode],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == code, done.stderr
    assert done.stdout == ("host\n" if mode == "host" else "")
    assert (tmp_path / "run.nc").exists() == (state == "closed")
    if state == "closed":
        assert int(read_file(tmp_path / "run.nc")[0]["iteration"][-1]) == last


def two_told_to_end(folder, *, delays):
    """Send SIGTERM to two processes so many seconds after their 20th update; None: never.

    Returns the last iteration each told of.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(SOURCE)}
    command = [sys.executable, Path(__file__).parents[1] / "sigterm_run.py", folder]
    told = [(folder / f"told-{rank}") for rank in range(2)]
    with ExitStack() as files:
        processes = [
            subprocess.Popen(
                [*command, str(rank)],
                env=environment,
                stdout=files.enter_context(file.open("w")),
                stderr=subprocess.DEVNULL,
            )
            for rank, file in enumerate(told)
        ]
    patience = time.monotonic() + 120
    while any(len(file.read_text().split()) < 20 for file in told):
        assert time.monotonic() < patience
        time.sleep(0.02)
    for process, delay in zip(processes, delays, strict=True):
        if delay is not None:
            time.sleep(delay)
            process.send_signal(signal.SIGTERM)
    codes = [process.wait(120) for process in processes]
    assert codes[0] == -signal.SIGTERM
    return [int(file.read_text().split()[-1]) for file in told]


def test_two_processes_told_to_end_close_after_the_same_update_and_lose_nothing(tmp_path):
    last = two_told_to_end(tmp_path, delays=[0.0, 0.2])
    # They end within the update that they agreed on, before they tell of it.
    assert last[0] == last[1]
    records = read_file(tmp_path / "run.nc")[0]
    assert records["iteration"].values.tolist() == list(range(last[0] + 2))
    assert records["noise_updates"].values.tolist() == [0, *[1] * (last[0] + 1)]


def forked(action):
    """Do something in a fork of this process; how that ended, as `os.waitpid` tells."""
    child = os.fork()
    if child == 0:
        try:
            action()
        finally:
            os._exit(7)
    return os.waitpid(child, 0)[1]


@pytest.mark.parametrize("handler", ["default", "host"])
def test_a_fork_that_is_told_to_end_leaves_the_recording_alone(tmp_path, handler):
    before = signal.getsignal(signal.SIGTERM)
    host = (lambda *_: os._exit(5)) if handler == "host" else signal.SIG_DFL
    signal.signal(signal.SIGTERM, host)
    try:
        recorder, train = run(tmp_path / "run", schedule=range(12))
        train(1, 8)
        status = forked(lambda: os.kill(os.getpid(), signal.SIGTERM))
        train(8, 12)
        closed = read_file(recorder.close())[0]
    finally:
        signal.signal(signal.SIGTERM, before)
    ended = os.waitstatus_to_exitcode(status)
    assert ended == (5 if handler == "host" else -signal.SIGTERM)
    assert closed["iteration"].values.tolist() == list(range(12))


def test_a_fork_that_trains_closes_and_ends_changes_nothing_of_the_recording(tmp_path):
    model = runs.network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder = probes.attach(
        model, optimizer, tmp_path / "run", batch_size=8, schedule=range(12), flush_seconds=0.0
    )

    def inherit():
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        for _ in range(6):
            optimizer.step()
        with pytest.raises(RuntimeError, match=rf"process {os.getppid()} records at .* a fork"):
            recorder.observe(loss=1.0)
        recorder._writer.store.close()
        recorder.close()
        recorder.__exit__(SystemExit, None, None)
        recorder._at_exit()
        os._exit(0)

    for iteration in range(1, 8):
        runs.update(model, optimizer, recorder, runs.microbatches(iteration))
    there = {file.name: file.read_bytes() for file in (tmp_path / "run").iterdir()}
    assert forked(inherit) == 0
    assert {file.name: file.read_bytes() for file in (tmp_path / "run").iterdir()} == there
    for iteration in range(8, 12):
        runs.update(model, optimizer, recorder, runs.microbatches(iteration))
    closed = read_file(recorder.close())[0]
    assert closed["iteration"].values.tolist() == list(range(12))


def ended(folder, *words, count=1):
    """Run `exit_run.py`, as one process or two; the statuses and what each said."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(SOURCE)}
    command = [sys.executable, Path(__file__).parents[1] / "exit_run.py", folder, *words]
    processes = [
        subprocess.Popen(
            [*command, *([str(rank)] if count > 1 else [])],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]
    said = [process.communicate(timeout=240)[1] for process in processes]
    return [process.returncode for process in processes], said


@pytest.mark.parametrize(
    ("words", "count", "code", "closes"),
    [
        (["clean"], 1, 0, True),
        (["short"], 1, 0, True),
        (["exception"], 1, 1, False),
        (["clean"], 2, 0, True),
    ],
)
def test_a_program_that_ends_without_closing_loses_no_record(tmp_path, words, count, code, closes):
    codes, said = ended(tmp_path, *words, count=count)
    assert codes == [code] * count, said
    assert (tmp_path / "run.nc").exists() == closes
    records = SegmentStore(tmp_path / "run").read()
    assert records["iteration"].values.tolist() == list(range(3 if words == ["short"] else 21))
    assert not (tmp_path / "run" / "lease.json").exists()


def test_processes_that_have_parted_close_without_a_collective(tmp_path):
    codes, said = ended(tmp_path, "parted", count=2)
    assert codes == [0, 0], said
    records = read_file(tmp_path / "run.nc")[0]
    assert records["iteration"].values.tolist() == list(range(21))
    assert not (tmp_path / "run" / "lease.json").exists()


def test_updates_that_a_dead_process_took_along_are_counted_in_the_recording(tmp_path, capfd):
    """Rank 0 still knows how many there were; `info` and the next start tell it."""
    codes, said = ended(tmp_path, "killed", count=2)
    assert codes[1] == -signal.SIGKILL
    assert codes[0] != 0, said
    records = SegmentStore(tmp_path / "run").read()
    last = int(records["iteration"][-1])
    ((at, text),) = events_of(records.attrs)
    assert at == 10
    assert text == (
        f"was left live: what was measured after iteration {last} is lost, {10 - last} updates"
    )
    assert 10 - last > 0
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    resumed = probes.attach(model, optimizer, tmp_path / "run", batch_size=8, resume=0)
    assert f"an earlier part of the run came to iteration 10: {text}" in capfd.readouterr().err
    resumed._leave()


def test_a_loop_that_goes_on_after_interrupts_has_every_record_under_its_own_number(tmp_path):
    done = subprocess.run(
        [sys.executable, Path(__file__).parents[1] / "interrupt_run.py", tmp_path, "40", "1"],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["caught"] == 40
    assert found["last"] == found["steps"]
    assert found["records"] == found["steps"] + 1
    assert found["wrong"] == 0


@pytest.mark.parametrize("damage", ["truncated", "zero bytes", "one bit"])
def test_a_damaged_segment_is_noticed_and_not_resumed(tmp_path, damage):
    recorder, train = run(tmp_path / "run")
    train(1, 8)
    recorder._leave()
    segment = SegmentStore(tmp_path / "run").segments()[1]
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 4
    segment.write_bytes(
        {"truncated": content[:-900], "zero bytes": b"", "one bit": content}[damage]
    )
    with pytest.raises(ValueError, match=r"repair the recording with `ultraslow repair`"):
        run(tmp_path / "run", resume=True)
