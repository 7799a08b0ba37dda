import json
import os
from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from every_field import every_field

from ultraslow.probes.buffer.state import to_plain
from ultraslow.probes.distributed.processes import Processes
from ultraslow.probes.quantities.weights import Measurements
from ultraslow.probes.recorder.start import Request, begin
from ultraslow.probes.storage.segments import SegmentStore

TENSORS = every_field(0)["tensor"].values.tolist()
SIZES = every_field(0)["tensor_size"].values.tolist()
PROBES = frozenset({"noise", "path", "trajectory", "scaler", "evaluation", "landscape"})


@pytest.fixture
def request_(tmp_path):
    """What is to be recorded: three tensors, as in a recording with every field."""
    torch.manual_seed(0)
    parameters = {
        name: torch.nn.Parameter(torch.randn(size))
        for name, size in zip(TENSORS, SIZES, strict=True)
    }
    return Request(
        SegmentStore(tmp_path / "run"),
        parameters,
        Processes(),
        Measurements(list(parameters.values()), probes=()),
        {"tensor": TENSORS, "tensor_size": SIZES, "batch_size": 1, "run": "everything"},
        {"history": "begun", "landscape_mode": "train"},
        PROBES,
        0.1,
    )


def recorded(request, beginning, iterations):
    """Write records as the run that began would; the request that fits them."""
    batch_size = int(every_field(0)["batch_size"])
    for iteration in iterations:
        request.store.write(every_field(iteration).assign_attrs(beginning.attributes))
    return replace(request, static={**request.static, "batch_size": batch_size})


def moved(request, amount):
    """Weights of which all are so far from the initial ones."""
    for parameter in request.parameters.values():
        parameter.data.add_(amount)
    measurements = Measurements(list(request.parameters.values()), probes=())
    return replace(request, measurements=measurements)


def test_a_new_recording_begins_with_its_weights_on_disk(request_):
    beginning = begin(request_, None)
    assert (beginning.state.iteration, beginning.marked) == (0, -1)
    expected = [float(p.detach().square().sum()) for p in request_.parameters.values()]
    np.testing.assert_allclose(beginning.initial_sq, expected, rtol=1e-6)
    (name,) = json.loads(beginning.attributes["initial_weights"])
    assert sorted(os.listdir(request_.store.folder)) == [name, "lease.json"]
    assert beginning.state.initial == beginning.attributes["initial_sha256"]


def test_going_on_reads_the_initial_weights_and_drops_later_records(request_):
    first = begin(request_, None)
    request_.store.close()
    request = moved(request_, 0.5)
    begin_again = recorded(request, first, (0, 5, 10))
    with pytest.warns(RuntimeWarning, match="load the checkpoint of that iteration"):
        beginning = begin(begin_again, 5)
    assert (beginning.state.iteration, beginning.marked) == (5, 5)
    assert beginning.several_units
    np.testing.assert_allclose(beginning.initial_sq, first.initial_sq)
    assert request.store.read()["iteration"].values.tolist() == [0, 5]
    assert json.loads(beginning.attributes["resumed"]) == [{"iteration": 5, "world_size": 1}]


@pytest.mark.parametrize(
    ("resume", "kind", "message"),
    [
        (3.0, ValueError, "resume: found 3.0, expected True, an iteration >= 0 or a state"),
        (-1, ValueError, "resume: found -1"),
        ({}, ValueError, "found a state of version None"),
        (7, FileNotFoundError, "found no recording at .* to resume"),
    ],
)
def test_what_cannot_be_gone_on_from_is_said_and_nothing_is_made(request_, resume, kind, message):
    with pytest.raises(kind, match=message):
        begin(request_, resume)
    assert not request_.store.folder.exists()


def test_true_begins_where_there_is_nothing(request_):
    assert begin(request_, True).marked == -1


def test_weights_without_a_record_are_gone_on_from_only_as_they_are(request_):
    begin(request_, None)
    request_.store.close()
    with pytest.raises(ValueError, match="no record, and the model has other weights"):
        begin(moved(request_, 0.5), True)
    with pytest.raises(FileNotFoundError, match="found no record in .* at iteration 4"):
        begin(request_, 4)
    begin(moved(request_, -0.5), True)


def test_initial_weights_of_another_run_in_the_folder_are_refused(request_, tmp_path):
    """Swapped for those of a run with the same tensors, sound in themselves."""
    first = begin(request_, None)
    request_.store.close()
    request = recorded(request_, first, (0, 5))
    other = moved(replace(request_, store=SegmentStore(tmp_path / "other")), 1.0)
    begin(other, None)
    (name,) = json.loads(first.attributes["initial_weights"])
    os.replace(other.store.folder / name, request.store.folder / name)
    with pytest.raises(ValueError, match="they are those of another run"):
        begin(request, 5)
    assert request.store.read()["iteration"].values.tolist() == [0, 5]


def test_a_damaged_recording_is_refused_with_advice_and_the_lease_given_back(request_):
    first = begin(request_, None)
    request_.store.close()
    request = recorded(request_, first, (0, 5))
    segment = request.store.segments()[1]
    segment.write_bytes(segment.read_bytes()[:-2000])
    with pytest.raises(ValueError, match="repair the recording with"):
        begin(request, True)
    assert "lease.json" not in os.listdir(request.store.folder)
    assert xr.load_dataset(request.store.segments()[0]).sizes["iteration"] == 1


def test_what_cannot_be_read_later_is_refused_at_once(request_):
    with pytest.raises(ValueError, match="metadata: found 1000001 characters"):
        begin(replace(request_, attributes={"config": "x" * 1_000_001}), None)
    assert not request_.store.folder.exists()


@pytest.mark.filterwarnings("error")
def test_diverged_weights_go_on_without_a_word_of_loss(request_):
    """Their distance is not a number, although nothing is missing."""
    first = begin(request_, None)
    request = recorded(request_, first, [0, 4])
    request.store.close()
    state = replace(first.state, iteration=4)
    assert np.isnan(state.distance_sq)
    found = begin(request, to_plain(state))
    assert json.loads(found.attributes["resumed"]) == [{"iteration": 4, "world_size": 1}]
