import json

import pytest
import xarray as xr

from diffusion.commands import main
from diffusion.recording import check
from diffusion.simulate import KINDS

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
        (["law", "--set", "parameters=[1]"], "ultraslow simulate: "),
    ],
)
def test_faults_name_what_was_found(tmp_path, capsys, arguments, message):
    assert main(["simulate", *arguments, "--folder", str(tmp_path), *SMALL]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path, capsys):
    command = ["simulate", "law", "--folder", str(tmp_path), *SMALL]
    assert main(command) == 0
    assert main(command) == 2
    assert "exists already" in capsys.readouterr().err


def test_sizes_below_one_are_refused(tmp_path, capsys):
    command = ["simulate", "law", "--folder", str(tmp_path), "--batch-sizes", "0"]
    assert main(command) == 2
    assert "found [0], 2, expected 1 or more" in capsys.readouterr().err
