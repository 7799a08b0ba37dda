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
from ultraslow.probes.quantities.quantity import Subject
from ultraslow.probes.recorder.start import RunSetup, begin
from ultraslow.probes.steps import Optimizers
from ultraslow.probes.storage.segments import SegmentStore

TENSORS = every_field(0)["tensor"].values.tolist()
SIZES = every_field(0)["tensor_size"].values.tolist()
PROBES = frozenset(
    {"distance", "noise", "path", "trajectory", "scaler", "evaluation", "landscape"}
)


def begun_with(parameters):
    """What is measured of parameters that are what they were at the beginning."""
    initial = [parameter.detach().clone() for parameter in parameters.values()]
    return Subject(torch.nn.Module(), parameters, initial, Processes())


@pytest.fixture
def setup(tmp_path):
    """What is to be recorded: three tensors, as in a recording with every field."""
    torch.manual_seed(0)
    parameters = {
        name: torch.nn.Parameter(torch.randn(size))
        for name, size in zip(TENSORS, SIZES, strict=True)
    }
    optimizer = torch.optim.SGD(parameters.values(), lr=0.1)
    return RunSetup(
        SegmentStore(tmp_path / "run"),
        begun_with(parameters),
        {"tensor": TENSORS, "tensor_size": SIZES, "batch_size": 1, "run": "everything"},
        {"history": "begun", "landscape_mode": "train"},
        PROBES,
        Optimizers([optimizer], list(parameters.values())),
    )


def recorded(setup, start, iterations):
    """Write records as the run that began would; the setup that fits them."""
    batch_size = int(every_field(0)["batch_size"])
    for iteration in iterations:
        setup.store.write(every_field(iteration).assign_attrs(start.attributes))
    return replace(setup, static={**setup.static, "batch_size": batch_size})


def moved(setup, amount):
    """Weights of which all are so far from the initial ones."""
    for parameter in setup.subject.parameters.values():
        parameter.data.add_(amount)
    return replace(setup, subject=begun_with(setup.subject.parameters))


def test_a_new_recording_begins_with_its_weights_on_disk(setup):
    start = begin(setup, None)
    assert (start.state.iteration, start.recorded) == (0, -1)
    expected = [float(p.detach().square().sum()) for p in setup.subject.parameters.values()]
    np.testing.assert_allclose(start.initial_sq, expected, rtol=1e-6)
    (name,) = json.loads(start.attributes["initial_weights"])
    assert sorted(os.listdir(setup.store.folder)) == [name, "lease.json"]
    assert start.state.initial == start.attributes["initial_sha256"]


def test_going_on_reads_the_initial_weights_and_drops_later_records(setup):
    first = begin(setup, None)
    setup.store.close()
    setup = moved(setup, 0.5)
    begin_again = recorded(setup, first, (0, 5, 10))
    with pytest.warns(RuntimeWarning, match="load the checkpoint of that iteration"):
        start = begin(begin_again, 5)
    assert (start.state.iteration, start.recorded) == (5, 5)
    assert start.several_units
    np.testing.assert_allclose(start.initial_sq, first.initial_sq)
    assert setup.store.read()["iteration"].values.tolist() == [0, 5]
    assert json.loads(start.attributes["resumed"]) == [{"iteration": 5, "world_size": 1}]


def test_a_recording_says_what_is_told_last_and_keeps_what_was_told_before(setup):
    told = {"note": "mine", "settings": {"iterations": 5, "rate": 0.1, "gone": 1}}
    plain = setup.attributes
    first = begin(replace(setup, attributes={**plain, "config": json.dumps(told)}), None)
    setup.store.close()
    setup = recorded(moved(setup, 0.5), first, (0, 5))
    now = {"settings": {"iterations": 9, "rate": 0.1}, "new": [1]}
    with pytest.warns(RuntimeWarning, match="load the checkpoint of that iteration"):
        start = begin(replace(setup, attributes={**plain, "config": json.dumps(now)}), 5)
    assert json.loads(start.attributes["config"]) == {"note": "mine", **now}
    (part,) = json.loads(start.attributes["resumed"])
    assert part["config_before"] == {"settings": {"iterations": 5, "gone": 1}}


@pytest.mark.parametrize(
    ("resume", "kind", "message"),
    [
        (3.0, ValueError, "resume: found 3.0, expected True, an iteration >= 0 or a state"),
        (-1, ValueError, "resume: found -1"),
        ({}, ValueError, "found a state of version None"),
        (7, FileNotFoundError, "found no recording at .* to resume"),
    ],
)
def test_what_cannot_be_gone_on_from_is_said_and_nothing_is_made(setup, resume, kind, message):
    with pytest.raises(kind, match=message):
        begin(setup, resume)
    assert not setup.store.folder.exists()


def test_true_begins_where_there_is_nothing(setup):
    assert begin(setup, True).recorded == -1


def test_weights_without_a_record_are_gone_on_from_only_as_they_are(setup):
    begin(setup, None)
    setup.store.close()
    with pytest.raises(ValueError, match="no record, and the model has other weights"):
        begin(moved(setup, 0.5), True)
    with pytest.raises(FileNotFoundError, match="found no record in .* at iteration 4"):
        begin(setup, 4)
    begin(moved(setup, -0.5), True)


def test_initial_weights_of_another_run_in_the_folder_are_refused(setup, tmp_path):
    """Swapped for those of a run with the same tensors, sound in themselves."""
    first = begin(setup, None)
    setup.store.close()
    setup = recorded(setup, first, (0, 5))
    other = moved(replace(setup, store=SegmentStore(tmp_path / "other")), 1.0)
    begin(other, None)
    (name,) = json.loads(first.attributes["initial_weights"])
    os.replace(other.store.folder / name, setup.store.folder / name)
    with pytest.raises(ValueError, match="they are those of another run"):
        begin(setup, 5)
    assert setup.store.read()["iteration"].values.tolist() == [0, 5]


def test_a_damaged_recording_is_refused_with_advice_and_the_lease_given_back(setup):
    first = begin(setup, None)
    setup.store.close()
    setup = recorded(setup, first, (0, 5))
    segment = setup.store.segments()[1]
    segment.write_bytes(segment.read_bytes()[:-2000])
    with pytest.raises(ValueError, match="repair the recording with"):
        begin(setup, True)
    assert "lease.json" not in os.listdir(setup.store.folder)
    assert xr.load_dataset(setup.store.segments()[0]).sizes["iteration"] == 1


def test_what_cannot_be_read_later_is_refused_at_once(setup):
    with pytest.raises(ValueError, match="metadata: found 1000001 characters"):
        begin(replace(setup, attributes={"config": "x" * 1_000_001}), None)
    assert not setup.store.folder.exists()


def test_a_state_newer_than_the_disk_tells_of_the_hole(setup):
    """The disk was set back, or the power went, after the checkpoint was made."""
    first = begin(setup, None)
    setup = recorded(setup, first, (0, 5, 7))
    setup.store.close()
    state = replace(first.state, iteration=13, recorded=12, distance_sq=np.nan)
    with pytest.warns(RuntimeWarning, match="the records from iteration 8 to 12 were made before"):
        start = begin(setup, to_plain(state))
    assert (start.recorded, start.gap) == (7, 7)
    part = {"iteration": 13, "world_size": 1, "unrecorded_since": 7}
    assert json.loads(start.attributes["resumed"]) == [part]


@pytest.mark.filterwarnings("ignore:.*the weights are 0 from")
def test_a_missing_end_is_told_where_the_run_goes_on_and_is_no_hole(setup):
    first = begin(setup, None)
    setup = recorded(setup, first, (0, 5, 7))
    setup.store.segments()[-1].unlink()
    setup.store.close()
    with pytest.warns(
        RuntimeWarning, match="up to iteration 7 were on disk, and all after that of"
    ):
        start = begin(setup, resume=True)
    assert (start.recorded, start.gap) == (5, None)
    assert "gaps" not in start.attributes
    recorded(setup, start, (7,))
    assert "gaps" not in setup.store.read().attrs


@pytest.mark.filterwarnings("ignore:.*the weights are 0 from")
def test_holes_that_a_run_fills_again_are_none(setup):
    first = begin(setup, None)
    setup = recorded(setup, first, (0, 5))
    setup.store.write(every_field(9).assign_attrs(first.attributes, gaps="[[0, 5], [9, null]]"))
    setup.store.close()
    start = begin(setup, resume=True)
    assert json.loads(start.attributes["gaps"]) == [[0, 5]]


@pytest.mark.filterwarnings("error")
def test_a_state_of_records_that_are_there_or_wait_has_no_hole(setup):
    first = begin(setup, None)
    setup = recorded(setup, first, (0, 5, 7))
    setup.store.close()
    state = replace(first.state, iteration=9, recorded=7, distance_sq=np.nan)
    assert begin(setup, to_plain(state)).gap is None
    setup.store.close()
    assert begin(setup, to_plain(replace(state, iteration=7, recorded=5))).gap is None


@pytest.mark.parametrize("iteration", [10**15, -1])
def test_a_state_of_an_impossible_iteration_is_refused(setup, iteration):
    first = begin(setup, None)
    setup.store.close()
    with pytest.raises(ValueError, match=f"found a state of iteration {iteration}, expected 0"):
        begin(setup, to_plain(replace(first.state, iteration=iteration)))


@pytest.mark.filterwarnings("error")
def test_diverged_weights_go_on_without_a_word_of_loss(setup):
    """Their distance is not a number, although nothing is missing."""
    first = begin(setup, None)
    setup = recorded(setup, first, [0, 4])
    setup.store.close()
    state = replace(first.state, iteration=4)
    assert np.isnan(state.distance_sq)
    found = begin(setup, to_plain(state))
    assert json.loads(found.attributes["resumed"]) == [{"iteration": 4, "world_size": 1}]
