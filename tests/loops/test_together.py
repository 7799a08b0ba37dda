"""Programs in the style of real ones, on two processes."""

import json
from pathlib import Path

import pytest
from launches import torchrun
from programs import added, assert_right, source

TOGETHER = ["gpt", "imagenet", "sharded", "speedrun"]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("together")
    torchrun(Path(__file__).with_name("loop_run.py"), folder, *TOGETHER)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]


@pytest.mark.parametrize("name", TOGETHER)
def test_a_program_is_recorded_rightly_and_trains_as_before(name, found):
    for rank in (0, 1):
        assert "fault" not in found[rank][name], found[rank][name]["fault"]
        made, expected = found[rank][name]["updates"]
        assert made == expected
        assert found[rank][name]["same"]
        assert found[rank][name]["told"] == []
        assert found[rank][name]["verified"][0] == "right", found[rank][name]["verified"]
    assert_right(found[0][name]["errors"])


@pytest.mark.parametrize("name", TOGETHER)
def test_a_user_adds_four_lines_at_most(name):
    assert 1 < len(added(source(f"together/{name}"))) <= 4
