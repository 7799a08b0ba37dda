import io
import re
import sys

import pytest
import torch
import xarray as xr
from launches import HERE, torchrun

from ultraslow import probes
from ultraslow.diffusion.predictions import PREDICTIONS
from ultraslow.probes.recorder.outlook import OneUnit, say

ALL = {"seed": 3, "scaling": "sqrt", "data_size": 40}
NO_NOISE = (
    "10 updates had one backward pass each, from which no gradient noise can be told. To measure "
    "it from the start, split each batch: k times (loss / k).backward() before a step, or train "
    "on several processes. To do without: probes=[]."
)


def train(path, *, updates=3, units=2, resume=None, **options):
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder = probes.attach(model, optimizer, path, batch_size=4, resume=resume, **options)
    for _ in range(updates):
        for _ in range(units):
            (model(torch.randn(4 // units, 3)).square().mean() / units).backward()
        optimizer.step()
        optimizer.zero_grad()
    return recorder


def everything(path, **options):
    def loss(model, batch):
        return model(batch).square().mean()

    batches = [torch.ones(2, 3), torch.zeros(2, 3)]
    landscape = probes.Landscape(loss, batches, schedule=[1, 2], directions=2)
    evaluation = probes.Evaluation(lambda model: {"loss": 0.5}, schedule=[1])
    chosen = {"landscape": landscape, "evaluation": evaluation}
    return train(path, probes=["noise", "path", "trajectory"], **chosen, **options)


def lines(capsys, path):
    """What was said of a recording, beside what it costs."""
    said = [
        line.removeprefix(f"recording {path}: ") for line in capsys.readouterr().err.splitlines()
    ]
    return [line for line in said if not line.startswith("probes take")]


def test_a_plain_run_is_told_what_it_serves_and_what_others_want(tmp_path, capsys):
    train(tmp_path / "a-s3").close()
    assert lines(capsys, tmp_path / "a-s3") == [
        "can serve P1; others want of us.attach landscape= (P1', P4, P7, P10), scaling= (P2, P2', "
        "H-b), evaluation= (P3, H-a, H-c), seed= (P5, P6), data_size= (P6, H-a, H-b), "
        "'trajectory' among probes (P8), 'path' among probes (P9). A name is not read for its s3. "
        "Labels can be added when it is closed: `ultraslow label "
        f"{tmp_path}/a-s3 scaling=RULE seed=3 data_size=D`."
    ]


def test_a_labelled_run_serves_more(tmp_path, capsys):
    train(tmp_path / "a", **ALL).close()
    assert lines(capsys, tmp_path / "a") == [
        "can serve P1, P2, P5, P6, H-b; others want of us.attach landscape= (P1', P4, P7, P10), "
        "another rule than sqrt (P2'), evaluation= (P3, H-a, H-c), 'trajectory' among probes "
        "(P8), 'path' among probes (P9)."
    ]


def test_what_records_all_serves_all_but_the_other_rule(tmp_path, capsys):
    everything(tmp_path / "a", **ALL).close()
    keys = [key for key in PREDICTIONS if key != "P2'"]
    assert lines(capsys, tmp_path / "a") == [
        f"can serve {', '.join(keys)}; others want of us.attach another rule than sqrt (P2')."
    ]


@pytest.mark.parametrize(
    ("options", "units", "wanted"),
    [
        ({}, 1, "two backward passes an update (P7, P10)"),
        ({"probes": ["path"]}, 2, "'noise' among probes (P7, P10)"),
    ],
)
def test_why_there_is_no_noise(tmp_path, capsys, options, units, wanted):
    train(tmp_path / "a", units=units, **options).close()
    (line,) = lines(capsys, tmp_path / "a")
    assert wanted in line


def test_it_is_said_once_when_the_first_records_are_on_disk(tmp_path, capsys):
    recorder = train(tmp_path / "a")
    assert lines(capsys, tmp_path / "a") == []
    recorder._flushes.now()
    assert len(lines(capsys, tmp_path / "a")) == 1
    recorder.state_dict()
    recorder._leave()
    with pytest.warns(RuntimeWarning, match="load the checkpoint"):
        train(tmp_path / "a", resume=True).close()
    assert lines(capsys, tmp_path / "a") == []


def test_nothing_is_said_where_that_is_asked_for(tmp_path, capsys):
    train(tmp_path / "a", units=1, updates=12, quiet=True).close()
    assert lines(capsys, tmp_path / "a") == []


def test_ten_updates_of_one_unit_are_told_at_the_tenth(tmp_path, capsys):
    train(tmp_path / "a", units=1, updates=9).close()
    assert NO_NOISE not in lines(capsys, tmp_path / "a")
    recorder = train(tmp_path / "b", units=1, updates=10)
    assert lines(capsys, tmp_path / "b").count(NO_NOISE) == 1
    recorder.close()
    assert NO_NOISE not in lines(capsys, tmp_path / "b")


def test_the_remedy_gives_noise(tmp_path, capsys):
    """k passes of loss/k instead of one: no line, and noise in the recording."""
    closed = train(tmp_path / "a", units=2, updates=10).close()
    assert not any("backward" in line for line in lines(capsys, tmp_path / "a"))
    assert "noise_trace" in xr.load_dataset(closed)
    train(tmp_path / "b", units=1, updates=10, probes=[]).close()
    assert not any("backward pass" in line for line in lines(capsys, tmp_path / "b"))


def test_one_update_of_several_units_ends_the_count(tmp_path, capsys):
    counter = OneUnit(tmp_path, listens=True)
    for units in [1] * 9 + [2] + [1] * 20:
        counter.saw(units)
    for units in [float("nan")] + [1] * 20:
        counter.saw(units)
    assert capsys.readouterr().err == ""


def test_names_that_look_like_seeds(tmp_path, capsys):
    for name in ("run-s3", "run_seed3", "run.seed-3", "s3"):
        train(tmp_path / name).close()
        assert re.search(r" seed=3 ", capsys.readouterr().err), name
    for name in ("runs3", "resnet-s3x", "b64", "classes10"):
        train(tmp_path / name).close()
        assert " seed=SEED " in capsys.readouterr().err, name


def test_labels_under_other_names_in_metadata_are_told(tmp_path, capsys):
    metadata = {"dataset_size": 40, "random_seed": 3, "note": 1, "depth": 8}
    train(tmp_path / "a", metadata=metadata).close()
    (line,) = lines(capsys, tmp_path / "a")
    assert (
        " random_seed in metadata is not read as seed. dataset_size in metadata is not read as "
        "data_size. Labels can be added"
    ) in line
    train(tmp_path / "b", metadata={7: "number"}).close()
    (line,) = lines(capsys, tmp_path / "b")
    assert "in metadata" not in line


@pytest.mark.parametrize("stream", [None, "closed"])
def test_a_lost_terminal_stops_no_training(tmp_path, monkeypatch, capsys, stream):
    broken = io.StringIO()
    broken.close()
    monkeypatch.setattr(sys, "stderr", broken if stream else None)
    say(tmp_path, "a line")
    assert train(tmp_path / "a", units=1, updates=12).close().suffix == ".nc"
    assert capsys.readouterr().out == ""


def test_one_of_several_processes_speaks(tmp_path):
    """And one backward pass a process is several units."""
    torchrun(HERE / "outlook_run.py", tmp_path)
    costs, line = (tmp_path / "said-0").read_text().splitlines()
    assert " a rank of 2" in costs and "a flush over the network" in costs
    assert "can serve P1; others want" in line
    assert "backward" not in line
    assert (tmp_path / "said-1").read_text() == ""
