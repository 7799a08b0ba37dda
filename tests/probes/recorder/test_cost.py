"""What probes will take, beside what they were measured to take on four processes."""

import json
from pathlib import Path

import pytest
import torch
from launches import torchrun

import ultraslow as us
from ultraslow.diffusion.sketch import COMPONENTS
from ultraslow.probes.recorder.cost import Cost

HERE = Path(__file__).parents[1]


def layers(width=30, depth=4):
    with torch.device("meta"):
        return torch.nn.Sequential(
            *(torch.nn.Linear(width, width, bias=False) for _ in range(depth))
        )


def test_a_billion_weights_take_one_sharded_copy_and_little_from_disk():
    """A dry run on the meta device; `groups` shrink what a record and a flush hold."""
    model = layers(width=7906, depth=16)
    found = us.cost(model, ranks=8, sharded=True)
    assert found.weights == 16 * 7906**2 > 1e9
    assert found.weight_bytes == 16 * 4 * 7906 * 989  # of the processes that have a row more
    assert 1 < found.copies < 1.01
    assert us.cost(model, ranks=8, sharded=True, initial_on="disk").copies < 0.01
    assert us.cost(model, ranks=8, sharded=True, initial_on="host").host == found.weight_bytes
    assert 2 < us.cost(model, ranks=8, sharded=True, probes=["path"]).copies < 2.01
    grouped = us.cost(model, ranks=8, sharded=True, groups={"all": "*"})
    assert grouped.recorded == 1 and found.recorded == 16
    assert grouped.flush_bytes < found.flush_bytes / 1.5
    assert found.record_bytes - grouped.record_bytes == 15 * 6 * 8


def test_replicas_hold_all_and_a_process_alone_sends_nothing():
    alone, several = us.cost(layers()), us.cost(layers(), ranks=4)
    assert alone.weight_bytes == several.weight_bytes == 4 * 4 * 30 * 30
    assert (alone.flush_bytes, alone.update_bytes) == (0, 0) < (several.flush_bytes, 0)
    assert "network" in str(several) and "network" not in str(alone)


def test_what_is_told_is_a_sentence():
    told = Cost(10**9, 3, 8, True, 500_000_000, 505_000_000, 0, 4_000, 1_024_000, 1_500, 4 * 10**9)
    assert str(told) == (
        "probes take 505 MB a rank of 8 (1.01 × its weights); at most 1.02 MB a flush over the "
        "network; 1.5 kB a record on disk, and 4 GB for w0"
    )


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"ranks": 0}, "ranks: found 0, expected how many processes"),
        ({"ranks": True}, "ranks: found True"),
        ({"probes": ["pat"]}, "probes: found"),
        ({"initial_on": "gpu"}, "initial_on: found 'gpu', expected one of"),
        ({"groups": {"a": "*.attn"}}, "groups: found no tensor"),
    ],
)
def test_arguments_that_cannot_be_meant_are_refused(options, told):
    with pytest.raises(ValueError, match=told):
        us.cost(layers(), **options)
    with pytest.raises(ValueError, match="model: found no trainable parameter"):
        us.cost(torch.nn.ReLU())


@pytest.mark.parametrize("probes", [["noise"], ["path", "trajectory"], []])
def test_a_record_on_disk_has_the_bytes_that_were_told(tmp_path, probes):
    """Of a closed file, what more records add; sketches are compressed."""
    sizes = {}
    for records in (20, 120):
        model = torch.nn.Sequential(*(torch.nn.Linear(3, 3) for _ in range(10)))
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
        options = {"schedule": range(records), "probes": probes, "quiet": True}
        path = tmp_path / str(records)
        with us.attach(model, optimizer, path, batch_size=2, **options):
            for _ in range(records - 1):
                for _ in range(2):
                    model(torch.ones(1, 3)).sum().backward()
                optimizer.step()
                optimizer.zero_grad()
        sizes[records] = Path(f"{path}.nc").stat().st_size
    measured = (sizes[120] - sizes[20]) / 100
    told = us.cost(model, probes=probes).record_bytes
    if "trajectory" in probes:
        assert told - 8 * COMPONENTS < measured < 1.05 * told
    else:
        assert measured == pytest.approx(told, rel=0.05)


def test_attaching_says_what_it_costs(tmp_path, capsys):
    model = torch.nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    us.attach(model, optimizer, tmp_path / "a", batch_size=2).close()
    assert f"recording {tmp_path / 'a'}: {us.cost(model)}" in capsys.readouterr().err.splitlines()
    us.attach(model, optimizer, tmp_path / "b", batch_size=2, quiet=True).close()
    assert capsys.readouterr().err == ""


def measured(folder, *asked, weights):
    """What four processes take of so many weights, for each of what is asked."""
    settings = [
        json.dumps({"weights": weights, "path": str(folder / str(number)), **one})
        for number, one in enumerate(asked)
    ]
    said = torchrun(HERE / "big_run.py", *settings, processes=4)
    return [json.loads(line) for line in said.splitlines() if line.startswith("{")]


def test_four_processes_send_what_was_told_whatever_the_number_of_weights(tmp_path):
    """Bytes that each gives to the sums of flushes, the same of 32 times as many weights."""
    few, many = {"place": "disk", "updates": 8}, {"place": "device", "updates": 8, "weights": 8e6}
    few, many = measured(tmp_path, few, many, weights=250_000)
    assert few["given"] == many["given"]
    told = Cost(**many["cost"][0])
    single = told.flush_bytes - 255 * told.update_bytes  # of an update and a record
    assert many["given"][0].count(single) >= 3
    assert max(many["given"][0]) <= told.flush_bytes
    assert told.weight_bytes == 8_000_000 and told.ranks == 4


@pytest.mark.slow
def test_memory_of_four_processes_is_at_most_what_was_told(tmp_path):
    """Between two updates of 40 million weights, 10 a process, beside a run without probes.

    A first run loads the libraries that write files. Peaks tell less: they vary by the layers that
    `fully_shard` has gathered.
    """
    asked = [{"place": place} for place in ("bare", "disk", "device")]
    first = {"place": "disk", "weights": 1000}
    _, bare, disk, device = measured(tmp_path, first, *asked, weights=40_000_000)
    for found, kept in ((disk, 0), (device, device["cost"][0]["weight_bytes"])):
        told = Cost(**found["cost"][0])
        for held, without in zip(found["held"], bare["held"], strict=True):
            assert kept - 1e6 < held - without < told.memory + 1e6
