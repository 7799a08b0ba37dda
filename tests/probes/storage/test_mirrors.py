"""Mirrors hold what the recording holds, and whatever becomes of them it is whole."""

import json
import random
import struct
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from launches import torchrun

from ultraslow import attach, fit_growth, import_runs, load
from ultraslow.diffusion.recording import events_of
from ultraslow.probes.quantities import Evaluation
from ultraslow.probes.storage import checked_mirrors
from ultraslow.probes.storage.csv_file import CsvFile


def train(path, updates, *, steps=(), **options):
    """A recording of a small training; what happens at some updates is `steps`."""
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    with attach(model, optimizer, path, batch_size=8, quiet=True, **options) as recorder:
        recorder._flushes._pace._limit = 7
        for _ in range(updates):
            loss = model(torch.randn(8, 4)).square().mean() + model.weight.sum() / 20
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            recorder.observe(loss=loss)
    return load(f"{path}.nc")[Path(path).name].to_dataset(), model


def totals(run, name):
    found = run[name]
    return found.sum("tensor", skipna=False) if "tensor" in found.dims else found


class Kept:
    """A mirror of one's own."""

    def __init__(self, fails_at=None):
        self.rows, self.closed, self.fails_at = [], 0, fails_at

    def log(self, iteration, values):
        if self.fails_at is not None and iteration >= self.fails_at:
            raise OSError("the wire is cut")
        self.rows.append((iteration, dict(values)))

    def close(self):
        self.closed += 1


@pytest.mark.parametrize("kind", ["tensorboard", "csv"])
def test_an_imported_mirror_is_its_recording(tmp_path, kind):
    evaluation = Evaluation(lambda model: {"accuracy": 0.25}, [0, 10, 50])
    asked = f"{kind}:{tmp_path / 'events'}"
    run, _ = train(tmp_path / "a", 120, mirror=asked, evaluation=evaluation)
    where = tmp_path / "events" / ("a.csv" if kind == "csv" else "")
    found = import_runs(where, batch_size=8)["a"].to_dataset()
    np.testing.assert_array_equal(found["iteration"], run["iteration"])
    names = ["distance_sq", "weight_sq", "overlap", "loss", "learning_rate", "learning_rate_sum"]
    for name in (*names, "samples", "mean_sq", "loss_updates", "wall_time"):
        np.testing.assert_array_equal(totals(found, name), totals(run, name), err_msg=name)
    scores = [one["held_out"].sel(metric="accuracy").values for one in (found, run)]
    np.testing.assert_array_equal(*scores)
    fits = [fit_growth(totals(one, "distance_sq") ** 0.5) for one in (found, run)]
    for name in ("exponent", "exponent_low", "exponent_high", "slope"):
        np.testing.assert_allclose(fits[0][name], fits[1][name], rtol=1e-6)


def test_records_come_once_in_their_order_and_after_they_are_on_disk(tmp_path):
    class Late(Kept):
        def log(self, iteration, values):
            super().log(iteration, values)
            there = load(tmp_path / "a")["a"]["iteration"].values
            assert iteration in there

    mirror = Late()
    run, _ = train(tmp_path / "a", 40, mirror=mirror)
    assert [iteration for iteration, _ in mirror.rows] == run["iteration"].values.tolist()
    assert all(first < second for (first, _), (second, _) in pairwise(mirror.rows))
    assert mirror.closed == 1
    last = mirror.rows[-1][1]
    assert last["distance_sq"] == float(run["distance_sq"][-1].sum())
    assert all(np.isfinite(value) for _, values in mirror.rows for value in values.values())


def test_a_mirror_that_fails_is_told_once_and_the_recording_is_whole(tmp_path):
    good, bad = Kept(), Kept(fails_at=10)
    with pytest.warns(
        RuntimeWarning, match="mirror Kept failed and follows no more: the wire"
    ) as w:
        run, model = train(tmp_path / "a", 60, mirror=[bad, good])
    assert len(w) == 1
    plain, twin = train(tmp_path / "b", 60)
    assert torch.equal(model.weight, twin.weight)
    np.testing.assert_array_equal(run["distance_sq"], plain["distance_sq"])
    assert [iteration for iteration, _ in good.rows] == run["iteration"].values.tolist()
    assert max(iteration for iteration, _ in bad.rows) < 10
    (event,) = events_of(run.attrs)
    assert event[1].startswith("the mirror Kept failed and follows no more")


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "events").write_text("a file")
    with pytest.warns(RuntimeWarning, match="mirror 'tensorboard:"):
        run, _ = train(tmp_path / "a", 20, mirror=f"tensorboard:{tmp_path / 'events'}")
    assert int(run["iteration"][-1]) == 20


@pytest.mark.parametrize("kind", ["tensorboard", "csv"])
def test_a_run_that_goes_on_goes_on_in_its_mirror(tmp_path, kind):
    """From before its last records: what they held is overtaken."""
    asked = f"{kind}:{tmp_path / 'events'}"
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    options = {"batch_size": 8, "quiet": True, "mirror": asked, "schedule": range(0, 61, 5)}

    def update(count):
        for _ in range(count):
            (model(torch.randn(8, 4)).square().mean()).backward()
            optimizer.step()
            optimizer.zero_grad()

    with pytest.raises(KeyError), attach(model, optimizer, tmp_path / "a", **options) as recorder:
        recorder._flushes._pace._limit = 5
        update(30)
        kept = recorder.state_dict(), {k: v.clone() for k, v in model.state_dict().items()}
        update(20)
        raise KeyError("the end")
    model.load_state_dict(kept[1])
    with attach(model, optimizer, tmp_path / "a", resume=kept[0], **options):
        update(30)
    run = load(tmp_path / "a.nc")["a"].to_dataset()
    if kind == "tensorboard":
        assert len(list((tmp_path / "events" / "a").iterdir())) == 2
    where = tmp_path / "events" / ("a.csv" if kind == "csv" else "")
    found = import_runs(where)["a"].to_dataset()
    np.testing.assert_array_equal(found["iteration"], run["iteration"])
    np.testing.assert_array_equal(totals(found, "distance_sq"), totals(run, "distance_sq"))


def test_a_csv_file_takes_new_columns_and_goes_on(tmp_path):
    path = tmp_path / "new" / "a.csv"
    file = CsvFile(path, 0, ["loss"])
    file.log(0, {"loss": 0.1 + 0.2})
    file.log(1, {"loss": 2.0, "held_out_accuracy": 0.5})
    file.log(4, {})
    text = "iteration,loss,held_out_accuracy\n0,0.30000000000000004,\n1,2.0,0.5\n"
    assert path.read_text() == text + "4,,\n"
    with path.open("a") as cut:  # by a kill, within a line
        cut.write("5,1.")
    CsvFile(path, 4, ["loss"]).log(4, {"loss": 1.0})
    assert path.read_text() == text + "4,1.0,\n"
    assert [one.name for one in path.parent.iterdir()] == ["a.csv"]


def test_a_file_of_somebody_else_is_no_csv_mirror(tmp_path):
    (tmp_path / "a.csv").write_text("name,age\nAnn,3\n")
    with pytest.warns(RuntimeWarning, match="found another file"):
        run, _ = train(tmp_path / "a", 20, mirror=f"csv:{tmp_path}")
    assert int(run["iteration"][-1]) == 20
    assert (tmp_path / "a.csv").read_text() == "name,age\nAnn,3\n"


def test_one_process_of_several_writes_the_mirror(tmp_path):
    torchrun(Path(__file__).with_name("mirror_run.py"), tmp_path)
    assert len(list((tmp_path / "events" / "run").iterdir())) == 1
    run = load(tmp_path / "run.nc")["run"].to_dataset()
    found = import_runs(tmp_path / "events")["run"].to_dataset()
    np.testing.assert_array_equal(totals(found, "distance_sq"), totals(run, "distance_sq"))
    np.testing.assert_array_equal(totals(found, "noise_trace"), totals(run, "noise_trace"))


@pytest.mark.parametrize(
    ("mirror", "error", "message"),
    [
        ("tensorbord", ValueError, "found 'tensorbord', expected 'tensorboard'"),
        (3, TypeError, "found int, expected 'tensorboard'"),
        (["tensorboard", 3], TypeError, "found int"),
    ],
)
def test_what_is_no_mirror_is_refused_before_the_training(mirror, error, message, tmp_path):
    with pytest.raises(error, match=message):
        train(tmp_path / "a", 1, mirror=mirror)
    assert list(tmp_path.iterdir()) == []


def test_a_library_that_is_missing_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'ultraslow\[wandb\]'"):
        checked_mirrors("wandb")


def test_weights_and_biases_offline(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.chdir(tmp_path)
    before = random.getstate()
    try:
        run, model = train(tmp_path / "a", 30, mirror="wandb:ultraslow")
    finally:
        wandb.teardown()
    assert (random.getstate(), wandb.run) == (before, None)
    assert torch.equal(model.weight, train(tmp_path / "b", 30)[1].weight)
    (file,) = (tmp_path / "wandb").glob("offline-run-*/*.wandb")
    logged = logged_in(file)
    assert [row["ultraslow/iteration"] for row in logged] == run["iteration"].values.tolist()
    distances = [row["ultraslow/distance_sq"] for row in logged]
    np.testing.assert_array_equal(distances, totals(run, "distance_sq"))


def logged_in(file):
    """What was logged to a run of Weights & Biases, a row a step."""
    from wandb.proto import wandb_internal_pb2

    rows = []
    for content in logged_records(file.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(content)
        if record.WhichOneof("record_type") == "history":
            items = record.history.item
            rows.append({i.key or ".".join(i.nested_key): json.loads(i.value_json) for i in items})
    return rows


def logged_records(content, block=1 << 15, head=7):
    """Records of LevelDB's log format, which begins with 7 bytes of W&B's own."""
    at, whole = head, b""
    while at + head <= len(content):
        if block - at % block < head:  # what is left of a block is empty
            at += block - at % block
            continue
        length, kind = struct.unpack("<HB", content[at + 4 : at + head])
        whole += content[at + head : at + head + length]
        at += head + length
        if kind in (1, 4):  # a whole record, or the end of one
            yield whole
            whole = b""
