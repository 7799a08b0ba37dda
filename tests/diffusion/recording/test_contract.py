import re

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings, strategies as st

from ultraslow.diffusion.recording.contract import (
    EVENTS,
    EVENTS_SCHEMA,
    SCHEMA,
    check,
    events_attributes,
    events_of,
    pack,
    seam_faults,
)
from ultraslow.diffusion.recording.errors import RecordError
from ultraslow.diffusion.recording.fields import FIELDS


def values(count=3, tensors=2):
    plane = np.arange(count * tensors, dtype=float).reshape(count, tensors)
    return {
        "iteration": np.arange(count),
        "tensor": [f"layer{index}" for index in range(tensors)],
        "tensor_size": np.arange(1, tensors + 1),
        "distance_sq": plane,
        "weight_sq": plane + 1,
        "overlap": plane - 1,
        "loss": np.linspace(2, 1, count),
        "run": "a",
        "batch_size": 8,
    }


def dataset(**changes):
    kept = {name: value for name, value in {**values(), **changes}.items() if value is not None}
    return xr.Dataset.from_dict(pack(kept, {"commit": "abc"}))


def faults(broken):
    with pytest.raises(RecordError) as caught:
        check(broken, "runs/a.nc")
    assert str(caught.value).startswith("runs/a.nc: ")
    return caught.value.faults


def test_a_packed_recording_is_sound_and_documented():
    sound = dataset()
    check(sound)
    assert sound["distance_sq"].attrs == {
        "long_name": "squared distance from the initial weights",
        "units": "1",
        "cell_methods": "iteration: point",
    }
    assert sound.attrs == {"Conventions": "CF-1.11", "schema": SCHEMA, "commit": "abc"}
    assert {"run", "batch_size", "tensor_size"} <= set(sound.coords)


def test_every_field_has_a_known_type_unit_and_meaning():
    for field in FIELDS.values():
        assert field.dtype in ("f8", "i8", "str")
        assert field.meaning, field.name
        assert bool(field.units) == (field.dtype != "str"), field.name
        needs_rule = "iteration" in field.dims and field.name != "iteration"
        assert bool(field.cell_method) == needs_rule, field.name


def test_what_is_written_is_read_and_checked(tmp_path):
    dataset().to_netcdf(tmp_path / "a.nc")
    check(xr.load_dataset(tmp_path / "a.nc"))


def test_all_faults_are_listed_at_once():
    broken = dataset(overlap=None, weight_sq=None)
    broken["loss"] = ("tensor", np.array([1, 2]))
    broken.attrs.pop("schema")
    assert faults(broken) == (
        "attribute schema is missing: this is not a recording",
        "weight_sq is missing",
        "overlap is missing",
        "loss has dimensions ('tensor',), expected ('iteration',)",
        "loss has type int64, expected f8",
    )


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"iteration": [0, 2, 2]}, "iteration does not increase: 2 is followed by 2"),
        ({"iteration": [-1, 0, 1]}, "iteration starts at -1, expected 0 or more"),
        ({"tensor": ["x", "x"]}, "tensor names repeat: 2 names, 1 different"),
        ({"batch_size": -1}, "batch_size is -1, expected 0 or more"),
        ({"tensor_size": [-1, 1]}, "tensor_size has values below 0"),
        ({"distance_sq": -np.ones((3, 2))}, "distance_sq has 6 negative values"),
        ({"run": "x" * 600}, "a name has 600 characters, at most 512"),
    ],
)
def test_each_fault_is_named(changes, fault):
    assert faults(dataset(**changes)) == (fault,)


def test_another_schema_and_an_endless_attribute():
    broken = dataset().assign_attrs(schema=99, config="x" * 1_000_001)
    assert faults(broken) == (
        "schema version '99', this version reads 1",
        "attribute config has 1000001 characters, at most 1000000",
    )


def test_a_later_recording_says_which_version_reads_it():
    later = dataset().assign_attrs(schema=2, versions='{"python": "3.13", "ultraslow": "0.4.1"}')
    (fault,) = faults(later)
    assert fault.startswith("schema version '2', this version reads 1")
    assert fault.endswith(": install ultraslow 0.4.1 or later, which wrote it")
    for lost in ("", "no JSON", "[]", '{"ultraslow": null}'):
        assert faults(later.assign_attrs(versions=lost))[0].startswith("schema version '2', this")


def test_fields_of_a_later_version_are_kept():
    further = dataset().assign(curl=("iteration", np.arange(3.0)))
    check(further)


def test_weights_that_diverged_are_no_fault():
    check(dataset(distance_sq=np.full((3, 2), np.inf), weight_sq=np.full((3, 2), np.nan)))


def test_no_record_at_all():
    assert faults(dataset().isel(iteration=slice(0))) == ("there is no record",)


def test_pack_refuses_what_is_not_declared():
    with pytest.raises(ValueError, match=r"undeclared fields \['gns'\]"):
        pack({"gns": 1.0})
    with pytest.raises(ValueError, match="loss: found 2 dimensions, expected"):
        pack({"loss": [[1.0]]})


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 8), st.integers(1, 4), st.text(min_size=1, max_size=20), st.integers(1, 2**40)
)
def test_anything_packed_survives_writing_and_reading(
    tmp_path_factory, count, tensors, name, batch
):
    name = name.encode("utf-8", "ignore").decode().replace("\0", "") or "run"
    packed = pack({**values(count, tensors), "run": name, "batch_size": batch})
    written = xr.Dataset.from_dict(packed)
    path = tmp_path_factory.mktemp("packed") / "a.nc"
    written.to_netcdf(path)
    read = xr.load_dataset(path)
    check(read)
    xr.testing.assert_identical(read, written)


def following(first, **changes):
    """The records after those of `first`."""
    return dataset(**{"iteration": first["iteration"].values + 3, **changes})


def test_segments_that_follow_one_another_have_no_fault():
    assert list(seam_faults(dataset(), following(dataset()))) == []


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"run": "b"}, "other values of run"),
        ({"batch_size": 9}, "other values of batch_size"),
        ({"tensor": ["layer0", "layer2"]}, "other values of tensor"),
        ({"tensor_size": [2, 2]}, "other values of tensor_size"),
        ({"loss": None}, r"differs in having \['loss'\]"),
        ({"iteration": [2, 3, 4]}, "segments overlap: one ends at iteration 2, the next starts"),
    ],
)
def test_segments_of_different_recordings_do_not_fit(changes, fault):
    first = dataset()
    found = list(seam_faults(first, following(first, **changes)))
    assert len(found) == 1
    assert re.search(fault, found[0])


def test_events_name_their_version_and_those_before_there_was_one_are_read():
    told = events_attributes([(3, "early"), (9, "late")])
    assert told["events_schema"] == EVENTS_SCHEMA
    assert events_of(told) == events_of({"events": told["events"]}) == [(3, "early"), (9, "late")]
    assert events_attributes([]) == {}
    assert len(events_of(events_attributes((k, "again") for k in range(2 * EVENTS)))) == EVENTS


def test_events_of_a_later_version_are_not_taken_apart():
    told = events_attributes([(3, "early")])
    assert events_of({**told, "events_schema": np.int64(EVENTS_SCHEMA + 1)}) == []
    assert events_of({**told, "events_schema": "odd"}) == [(3, "early")]
