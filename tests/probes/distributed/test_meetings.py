"""Processes that do not all come to what the probes add up over them."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch.distributed as dist

from ultraslow.diffusion.recording import read_file
from ultraslow.probes.distributed.meetings import Meetings, MissingError, StoreGoneError
from ultraslow.probes.storage.segments import SegmentStore

SCRIPT = Path(__file__).parents[1] / "meeting_run.py"
SOURCE = Path(__file__).parents[3] / "src"
CAME = "1 of 3 processes came to a flush"
CASES = (
    "attached_by_one",
    "attached_again",
    "attached_to_another",
    "bare_at_one_path",
    "bare_at_own_paths",
    "bare_on_one",
    "bare_too_late",
    "other_weights",
    "weights_that_part",
    "closed_by_one",
    "closed_late",
    "joined_with_flushes",
    "joined_without",
    "joined_with_evaluation",
    "saved_by_one",
    "left_by_one",
    "closed_by_rank_0_as_the_other_ends",
)


def together(*actions):
    """What each process, as a thread, says at the end of what it does with its meetings."""
    store, found = dist.HashStore(), {}

    def act(rank, action):
        meetings = Meetings(store, size=len(actions), rank=rank)
        try:
            found[rank] = action(meetings)
        except MissingError as error:
            found[rank] = str(error)

    threads = [threading.Thread(target=act, args=one) for one in enumerate(actions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return found, store


def test_all_come_many_times_and_leave_nothing_behind():
    def come(meetings):
        for number in range(200):
            meetings.meet(f"update {number}", patience=30.0)
        return "came"

    found, store = together(come, come, come)
    assert set(found.values()) == {"came"}
    assert store.num_keys() <= 7  # of the last meeting, and of the one before at most


def test_those_that_come_for_something_else_are_named_to_all():
    found, _ = together(
        lambda meetings: meetings.meet("close after iteration 6", patience=30.0),
        lambda meetings: meetings.meet("a flush after iteration 8", patience=30.0),
    )
    assert found[0] == found[1]
    assert "process 0 came to close after iteration 6" in found[0]
    assert "process 1 came to a flush after iteration 8" in found[0]


def test_one_that_does_not_come_is_waited_for_so_long_and_no_longer():
    ticks = iter(range(10**6))
    meetings = Meetings(dist.HashStore(), size=3, rank=1, clock=lambda: next(ticks))
    said = []
    with pytest.raises(MissingError, match=f"{CAME} within 40 s"):
        meetings.meet("a flush", patience=40.0, notice=said.append)
    assert said == [
        "waits for others: 1 of 3 processes came to a flush, which all of them have to"
    ]
    with pytest.raises(MissingError, match="within 40 s"):
        meetings.meet("the next", patience=40.0)


def test_one_that_has_left_is_not_waited_for():
    def leave(meetings):
        meetings.leave("met an exception")
        return "left"

    found, _ = together(leave, lambda meetings: meetings.meet("a flush", patience=30.0))
    assert found == {0: "left", 1: "process 0 met an exception"}


class Gone:
    """A store whose keeper has ended."""

    def __getattr__(self, name):
        def fail(*_):
            raise RuntimeError("Connection reset by peer")

        return fail


def test_a_store_that_is_gone_ends_the_meetings():
    meetings = Meetings(Gone(), size=2, rank=0)
    for _ in range(2):
        with pytest.raises(StoreGoneError, match=r"cannot be reached \(Connection reset"):
            meetings.meet("a flush")
    meetings.leave("again")
    meetings.post(b"part")
    assert meetings.posted(patience=0.0) == [None, None]


def test_what_was_posted_is_read_whole_and_only_that():
    store = dist.HashStore()
    first, second = (Meetings(store, size=3, rank=rank) for rank in (0, 1))
    large = bytes(range(256)) * 9000  # in several pieces
    second.post(large)
    first.post(b"")
    assert first.posted(patience=0.0) == [b"", large, None]


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("meetings")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(SOURCE)}
    processes = [
        subprocess.Popen(
            [sys.executable, SCRIPT, folder, str(rank), *CASES],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    said = [process.communicate(timeout=200)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    return folder, [json.loads((folder / f"found-{rank}.json").read_text()) for rank in (0, 1)]


def told(cases, name, rank=0):
    return " ".join(cases[1][rank][name]["told"])


def iterations(cases, name, *, closed):
    folder = cases[0] / name
    assert (folder / "run.nc").exists() == closed
    assert not (folder / "run" / "lease.json").exists()
    read = read_file(folder / "run.nc")[0] if closed else SegmentStore(folder / "run").read()
    return read["iteration"].values.tolist()


def test_attaching_on_one_process_alone_ends_in_an_error_and_leaves_nothing(cases):
    assert "TimeoutError: attach: 1 of 2 processes came to `attach` 2 tensors of 10" in told(
        cases, "attached_by_one"
    )
    assert not (cases[0] / "attached_by_one" / "run").exists()


def test_attaching_can_be_tried_again(cases):
    assert iterations(cases, "attached_again", closed=True) == list(range(7))


def test_attaching_for_different_probes_names_both(cases):
    for rank in (0, 1):
        said = told(cases, "attached_to_another", rank)
        assert "process 0 came to `attach` 2 tensors of 10 weights with distance" in said
        assert "process 1 came to `attach` 2 tensors of 10 weights with distance, noise" in said


def test_processes_that_do_not_say_whether_they_train_together_are_refused_one_path(cases):
    for rank in (0, 1):
        said = told(cases, "bare_at_one_path", rank)
        assert "ValueError: path: 2 processes of one group record at one path" in said
        assert "pass processes=True if you average gradients yourself" in said
        assert cases[1][rank]["bare_at_one_path"]["seconds"] < 10
    assert not (cases[0] / "bare_at_one_path" / "own").exists()


@pytest.mark.parametrize(
    ("name", "paths"), [("bare_at_own_paths", ("first", "second")), ("bare_on_one", ("alone",))]
)
def test_those_with_paths_of_their_own_and_one_alone_are_warned_and_record(cases, name, paths):
    for rank, path in enumerate(paths):
        assert "2 processes run and the model is not wrapped" in told(cases, name, rank)
        assert (cases[0] / name / path / "run.nc").exists()


def test_one_that_comes_to_attach_when_the_other_has_given_up_hears_that_they_did_not_meet(cases):
    said = told(cases, "bare_too_late", 1)
    assert "FileExistsError: path: processes 0 and 1 came to `attach` at" in said
    assert "did not meet and process 0 records there alone" in said
    assert "torch.distributed.barrier() before us.attach" in said
    assert (cases[0] / "bare_too_late" / "own.nc").exists()


@pytest.mark.parametrize("rank", [0, 1])
def test_weights_that_differ_among_processes_are_refused_with_the_remedy(cases, rank):
    said = told(cases, "other_weights", rank)
    assert "ValueError: model: process 1 of 2 holds other weights than process 0" in said
    assert "torch.distributed.broadcast(p.data, 0)" in said
    assert not (cases[0] / "other_weights" / "run").exists()


@pytest.mark.parametrize("rank", [0, 1])
def test_weights_that_part_in_training_end_the_recording_before_they_are_recorded(cases, rank):
    """The gradients of one tensor are not averaged."""
    said = told(cases, "weights_that_part", rank)
    assert "stopped, as what was measured could not be collected: process 1 of 2 holds" in said
    assert "average the gradients of all parameters" in said
    folder = cases[0] / "weights_that_part" / "run"
    records = SegmentStore(folder).read()
    assert records is None or records["iteration"].values.tolist() == [0]


def test_closing_on_one_process_alone_leaves_the_recording_live_and_says_so(cases):
    assert "process 1 of 2 has not closed it" in told(cases, "closed_by_one")
    assert iterations(cases, "closed_by_one", closed=False) == list(range(5))
    assert cases[1][0]["closed_by_one"]["seconds"] < 10


def test_one_that_closes_later_than_the_other_waits_finds_what_that_has_left(cases):
    assert iterations(cases, "closed_late", closed=True) == list(range(7))
    assert "closed without the last evaluation: 1 of 2 processes" in told(cases, "closed_late")
    assert "rank 0 closes it when it comes" in told(cases, "closed_late", 1)


@pytest.mark.parametrize(
    "name", ["joined_with_flushes", "joined_without", "joined_with_evaluation"]
)
def test_unequal_updates_are_named_and_what_all_have_made_is_recorded(cases, name):
    assert iterations(cases, name, closed=True) == list(range(8))
    made = "(7, at least 7)" if name == "joined_with_flushes" else "(7, "
    assert f"processes have made unequal numbers of updates {made}" in told(cases, name)
    assert "give each process as many batches, as DistributedSampler does" in told(cases, name)
    assert "closed: processes have" in told(cases, name)
    assert "recorded up to iteration 7; give each" in told(cases, name)
    events = read_file(cases[0] / name / "run.nc")[0].attrs["events"]
    assert "unequal numbers of updates" in events


def test_a_state_asked_for_on_one_process_alone_is_an_error(cases):
    said = told(cases, "saved_by_one")
    assert "RuntimeError: state_dict: 1 of 2 processes came to `state_dict`" in said
    assert "call it on every process" in said


def test_an_exception_on_one_process_loses_nothing_that_all_have(cases):
    assert iterations(cases, "left_by_one", closed=False) == list(range(7))
    assert "process 1 stopped to record after iteration 6" in told(cases, "left_by_one")


def test_closing_on_one_process_alone_as_the_program_ends_closes_the_recording(cases):
    name = "closed_by_rank_0_as_the_other_ends"
    assert iterations(cases, name, closed=True) == list(range(7))
