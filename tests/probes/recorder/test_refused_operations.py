"""Every single operation on the disk is refused in turn, once or from then on."""

import errno
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from faults import run

from ultraslow.probes.storage.segments import SegmentStore

LAST = 9
OPERATIONS = [
    (os, "replace"),
    (os, "rename"),
    (os, "fsync"),
    (Path, "open"),
    (Path, "unlink"),
    (Path, "mkdir"),
    (Path, "rmdir"),
    (Path, "read_bytes"),
]


class Refusing:
    """Refuses the k-th operation below a folder, and all later ones where it is for good."""

    def __init__(self, patch, folder, number, code, *, for_good):
        self.count, self.number, self.for_good = 0, number, for_good
        self.error, self.folder = OSError(code, os.strerror(code)), str(folder)
        for owner, name in OPERATIONS:
            patch.setattr(owner, name, self.refusing(getattr(owner, name)))

    def refusing(self, real):
        def operate(first, *arguments, **options):
            path = os.readlink(f"/proc/self/fd/{first}") if isinstance(first, int) else str(first)
            if path.startswith(self.folder):
                self.count += 1
                if self.count == self.number or (self.for_good and self.count > self.number):
                    raise self.error
            return real(first, *arguments, **options)

        return operate


def recorded(path, *, resume=None):
    recorder, train = run(path, resume=resume, schedule=range(LAST + 1))
    train(1, LAST + 1)
    return recorder.close()


def sound_beginning(path):
    """The iterations on disk, which must be the first ones, each with its own distance."""
    there = SegmentStore(path).read()
    if there is None:
        return []
    found = there["iteration"].values.tolist()
    assert found == list(range(len(found)))
    np.testing.assert_array_equal(there["distance_sq"], TRUTH["distance_sq"][: len(found)])
    return found


@pytest.fixture(autouse=True, scope="module")
def truth(tmp_path_factory):
    global TRUTH
    TRUTH = SegmentStore(recorded(tmp_path_factory.mktemp("truth") / "run")).read()


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("code", "for_good"), [(errno.EIO, False), (errno.ENOSPC, True)])
def test_no_refused_operation_makes_a_wrong_record_or_locks_out(
    tmp_path, monkeypatch, code, for_good
):
    number, refused = 0, True
    while refused:
        number += 1
        path = tmp_path / f"run{number}"
        with warnings.catch_warnings(), monkeypatch.context() as patch:
            warnings.simplefilter("ignore")
            disk = Refusing(patch, path, number, code, for_good=for_good)
            try:
                recorded(path)
            except OSError as error:
                assert error is disk.error, error
            refused = disk.count >= number
        found = sound_beginning(path)
        if not for_good and found:
            assert len(found) >= LAST, f"operation {number}"
        if not SegmentStore(path).file.exists() and not found:
            recorded(path, resume=True)  # nobody holds it
            assert len(sound_beginning(path)) == LAST + 1
        else:
            SegmentStore(path).open(resume=True)
    assert number > 30
