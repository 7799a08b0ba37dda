from pathlib import Path

import numpy as np
import pytest
import torch
from every_field import every_field
from records import records

from ultraslow.probes.buffer.state import State
from ultraslow.probes.buffer.window import empty_window
from ultraslow.probes.recorder import compatibility

FOLDER = Path("run")
STATIC = {"tensor": ["a", "b"], "tensor_size": [1, 2], "batch_size": 8, "run": "y"}


def state(**values):
    return State(3, empty_window(2, 0.1), **values)


@pytest.mark.parametrize(
    ("change", "probes", "fault"),
    [
        ({"tensor": ["a", "c"]}, [], r"tensor: found \['a', 'c'\], .* run has \['a', 'b'\]"),
        ({"batch_size": 4}, [], r"batch_size: found \[4\], the recording at run has \[8\]"),
        ({"tensor": list("abcdefgh")}, [], r"found 8 values, \['a', 'b', 'c'\] …"),
        ({}, ["trajectory"], "the recording has no sketch, which 'trajectory' makes"),
    ],
)
def test_another_run_is_refused(change, probes, fault):
    with pytest.raises(ValueError, match=fault):
        compatibility.refuse_other_run(
            FOLDER, records(0, 1), {**STATIC, **change}, probes, warn=print
        )


@pytest.mark.parametrize(
    ("static", "attributes", "fault"),
    [
        ({}, {"config": "x" * 1_000_001}, "metadata: found 1000001 characters, expected at most"),
        ({"tensor": ["a", "b" * 513]}, {}, "tensor: found a name of 513 characters, 'bbb"),
        ({"seed": 2**63}, {}, "metadata: cannot be recorded: "),
    ],
)
def test_what_no_reader_would_accept_is_not_begun(static, attributes, fault):
    with pytest.raises(ValueError, match=fault):
        compatibility.refuse_unreadable({**STATIC, **static}, attributes)
    compatibility.refuse_unreadable(STATIC, {"config": "x" * 1_000_000})


def test_the_same_run_is_not():
    told = []
    compatibility.refuse_other_run(FOLDER, records(0, 1), STATIC, [], warn=told.append)
    assert told == []


def test_only_weights_known_to_be_elsewhere_are_warned_of():
    for known, found in [(4.0, 4.000001), (np.nan, 5.0), (np.inf, np.inf), (0.0, 0.0)]:
        assert compatibility.other_weights(state(distance_sq=known), found) == ""
    told = compatibility.other_weights(state(distance_sq=4.0), 9.0)
    assert told.startswith("the weights are 3 from the initial ones, but were 2 at iteration 3")


def test_initial_weights_of_another_run_are_refused():
    for known, found in [("", "b"), ("a", ""), ("a", "a")]:
        compatibility.refuse_other_initial(FOLDER, state(initial=known), found)
    with pytest.raises(ValueError, match="have the checksum b…, expected a…"):
        compatibility.refuse_other_initial(FOLDER, state(initial="a"), "b")
    compatibility.refuse_other_weights(FOLDER, [torch.ones(2)], [torch.ones(2)])
    with pytest.raises(ValueError, match="no record, and the model has other weights"):
        compatibility.refuse_other_weights(FOLDER, [torch.ones(2)], [torch.zeros(2)])


def test_a_landscape_goes_on_at_its_radii_and_in_its_mode():
    given = {"landscape_mode": "train", "landscape_radii": "given"}
    derived = {**given, "landscape_radii": "of the initial weights"}
    records = every_field(0).assign_attrs(given)
    radius = records["radius"].values
    compatibility.refuse_other_landscape(records, {"radius": radius}, given)
    compatibility.refuse_other_landscape(
        records.assign_attrs(derived), {"radius": radius + 1}, derived
    )
    compatibility.refuse_other_landscape(records.drop_attrs(deep=False), {}, {})
    for static, attributes, told in [
        ({"radius": radius * 2}, given, "landscape: found radii .*, the recording has"),
        ({"radius": radius[:-1]}, given, "landscape: found radii .*, the recording has"),
        ({"radius": radius}, {**given, "landscape_mode": "eval"}, "landscape_mode 'eval', the re"),
        ({"radius": radius}, derived, "landscape_radii 'of the initial weights', the recording"),
    ]:
        with pytest.raises(ValueError, match=told):
            compatibility.refuse_other_landscape(records, static, attributes)
