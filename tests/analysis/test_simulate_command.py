import json

import pytest
import xarray as xr

from diffusion.commands import main
from diffusion.recording import check
from diffusion.scaling import RULES
from diffusion.seal import LENGTH, checksum
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
