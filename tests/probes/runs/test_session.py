import json

import pytest

from probes.runs.config import PLACES, Config
from probes.runs.session import metadata

CONFIG = Config(
    folder="/secret/place", data_folder="/secret/images/", data="folder", batch_size=96, seed=4
)


def test_recordings_say_what_was_trained_and_not_where():
    told = metadata(CONFIG, 500, 1234, 2)
    assert told["data"] == "images"
    assert told["data_size"] == 500
    assert told["parameters"] == 1234
    assert told["seed"] == told["settings"]["seed"] == 4
    assert not set(PLACES) & set(told["settings"])
    assert "secret" not in json.dumps(told)


@pytest.mark.parametrize(
    ("changes", "size"),
    [({}, 48), ({"microbatch": 16}, 16), ({"microbatch": 16, "ghost_size": 8}, 8)],
)
def test_ghost_size_is_that_of_the_batch_statistics(changes, size):
    config = Config(batch_size=96, **changes)
    assert metadata(config, 500, 1, 2)["ghost_size"] == size


def test_adagrad_has_no_momentum():
    assert metadata(Config(optimizer="adagrad"), 1440, 1, 2)["momentum"] == 0.0
