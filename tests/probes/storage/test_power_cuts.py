"""Power cuts at every moment, on a disk that forgets what was not synced."""

import random
import shutil

import pytest
from power_cuts import Disk
from records import records

from ultraslow.diffusion.recording import read_file
from ultraslow.probes.storage.segments import SegmentStore

TRIALS = 3


def found_in(path):
    store = SegmentStore(path / "run")
    there = store.read()
    iterations = [] if there is None else there["iteration"].values.tolist()
    tails = [read_file(file)[0] for file in sorted(path.glob("run/tail-*.nc.aside"))]
    return iterations, {int(i) for tail in tails for i in tail["iteration"].values}


def outcomes(disk, scratch):
    """What was said to be on disk, and what is, of every moment and several fates of each."""
    chance = random.Random(7)
    for moment in range(disk.marks[0][0], len(disk.trace) + 1):
        for trial in range(TRIALS + 2):
            share = {0: 0.0, 1: 1.0}.get(trial, 0.5)
            disk.after_a_cut(moment, scratch, lambda share=share: chance.random() < share)
            yield disk.said(moment), scratch
            shutil.rmtree(scratch)


def test_what_was_written_is_there_in_a_new_folder_below_new_ones(tmp_path, monkeypatch):
    (tmp_path / "disk").mkdir()
    disk = Disk(tmp_path / "disk")
    with disk.watched(monkeypatch):
        store = SegmentStore(disk.root / "study" / "arm" / "run")
        disk.mark([])
        store.open()
        for part in [(0,), (1, 2, 5), (9,)]:
            store.write(records(*part))
            disk.mark(store.read()["iteration"].values.tolist())
        store.compact()
    for said, scratch in outcomes(disk, tmp_path / "scratch"):
        whole = SegmentStore(scratch / "study" / "arm" / "run").read()
        found = [] if whole is None else whole["iteration"].values.tolist()
        assert found == [0, 1, 2, 5, 9][: len(found)]
        assert len(found) >= len(said)


@pytest.mark.parametrize("closed", [False, True])
def test_going_on_from_before_the_end_loses_neither_the_beginning_nor_the_tail(
    tmp_path, monkeypatch, closed
):
    (tmp_path / "disk").mkdir()
    disk = Disk(tmp_path / "disk")
    with disk.watched(monkeypatch):
        store = SegmentStore(disk.root / "run")
        store.open()
        for part in [(0,), (1, 2, 5), (7,), (9,)]:
            store.write(records(*part))
        if closed:
            store.compact()
        else:
            store.lease.release()
        disk.mark("cutting")
        store.open(resume=True)
        store.cut(2)
        disk.mark([0, 1, 2])
        store.write(records(3, 4))
        disk.mark([0, 1, 2, 3, 4])
        store.write(records(6, 8))
        disk.mark([0, 1, 2, 3, 4, 6, 8])
        assert [*store.tails.values()] == [9]
        store.compact()
        disk.mark([0, 1, 2, 3, 4, 6, 8])
    for said, scratch in outcomes(disk, tmp_path / "scratch"):
        found, tail = found_in(scratch)
        if said == "cutting":
            assert found == [0, 1, 2, 5, 7, 9][: len(found)]
            assert len(found) >= 3
        else:
            assert found[: len(said)] == said
        assert {5, 7, 9} <= {*found, *tail}
