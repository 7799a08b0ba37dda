import json

from diffusion.commands import main


def test_modes_of_one_and_two_processes(capsys):
    assert main(["verify", "--updates", "50", "--processes", "2", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    modes = {mode["mode"]: mode for mode in answer["modes"]}
    assert answer["passed"]
    assert len(modes) == 12
    assert modes["DDP, no_sync"]["units"] == 4
    assert all(len(mode["checks"]) == 3 for mode in modes.values())


def test_too_little_is_refused(capsys):
    assert main(["verify", "--updates", "10"]) == 2
    assert "found 10, 4, expected at least 50 and 2" in capsys.readouterr().err
