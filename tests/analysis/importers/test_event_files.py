"""The files in events/ were written by torch.utils.tensorboard 2.13: square roots of the steps,
1/(1 + step) every third step, a histogram and a text at step 4; in one as simple values, in the
other as tensors. TensorBoard's own reader gives the same points, where it is installed."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import ultraslow as us
from ultraslow.analysis.growth import fit_totals
from ultraslow.analysis.importers.event_files import events_sheet
from ultraslow.analysis.importers.files import sheets_of
from ultraslow.analysis.runs import runs_of
from ultraslow.diffusion.recording import RecordError
from ultraslow.probes.storage.mirrors import EventFile, scalars

EVENTS = Path(__file__).parent / "events"
FILES = [EVENTS / "values.tfevents", EVENTS / "tensors.tfevents"]
REMAINDER = [0] * 256
for byte in range(256):
    value = byte
    for _ in range(8):
        value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    REMAINDER[byte] = value


def masked(content):
    """CRC-32C byte by byte, as a second way."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc = REMAINDER[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17 & 0xFFFFFFFF) + 0xA282EAD8) & 0xFFFFFFFF


def varint(number):
    out = bytearray()
    number &= 2**64 - 1
    while True:
        out.append(number & 0x7F | (0x80 if number > 0x7F else 0))
        number >>= 7
        if not number:
            return bytes(out)


def field(number, kind, content):
    return varint(number << 3 | kind) + content


def message(number, content):
    return field(number, 2, varint(len(content)) + content)


def record(content):
    length = struct.pack("<Q", len(content))
    ends = [struct.pack("<I", masked(one)) for one in (length, content)]
    return length + ends[0] + content + ends[1]


def event(step, *values):
    summary = b"".join(message(1, message(1, tag.encode()) + value) for tag, value in values)
    return record(
        field(1, 1, struct.pack("<d", 1.0)) + field(2, 0, varint(step)) + message(5, summary)
    )


def simple(number):
    return field(2, 5, struct.pack("<f", number))


def tensor(kind, content):
    return message(8, field(1, 0, varint(kind)) + content)


def read(*contents):
    return events_sheet([(f"f{k}", one) for k, one in enumerate(contents)], "f", "f", "0" * 64)


def test_the_checksum_is_that_of_the_standard():
    assert masked(b"123456789") == (
        ((0xE3069283 >> 15 | 0xE3069283 << 17) + 0xA282EAD8) & 0xFFFFFFFF
    )


@pytest.mark.parametrize("path", FILES, ids=["values", "tensors"])
def test_points_of_real_files(path):
    (found,) = sheets_of([path])
    assert found.columns["step"] == list(range(10))
    exact = np.sqrt(np.arange(10))
    np.testing.assert_allclose(found.columns["distance"], exact, rtol=1e-7)
    losses = found.columns["train/loss"]
    np.testing.assert_allclose(losses[::3], [1 / (1 + k) for k in range(0, 10, 3)], rtol=1e-7)
    assert losses[1::3] == losses[2::3] == [None] * 3
    assert set(found.columns) == {"step", "Wall time", "distance", "train/loss"}


def test_points_are_those_of_another_reader():
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    (found,) = sheets_of([FILES[0]])
    theirs = accumulator.EventAccumulator(str(FILES[0]), size_guidance={"scalars": 0})
    theirs.Reload()
    assert [one.value for one in theirs.Scalars("distance")] == found.columns["distance"]


@pytest.mark.parametrize(
    "value",
    [
        simple(2.5),
        tensor(1, field(5, 5, struct.pack("<f", 2.5))),
        tensor(1, message(5, struct.pack("<f", 2.5))),
        tensor(1, message(4, struct.pack("<f", 2.5))),
        tensor(2, message(4, struct.pack("<d", 2.5))),
        tensor(2, field(6, 1, struct.pack("<d", 2.5))),
        tensor(14, field(13, 0, varint(0x4020))),
        tensor(19, message(13, varint(0x4100))),
    ],
)
def test_a_number_in_every_form(value):
    assert read(event(3, ("d", value))).columns["d"] == [2.5]


def test_whole_numbers_and_what_is_none():
    whole = tensor(9, field(10, 0, varint(-7)))
    text = tensor(7, message(8, b"hello"))
    two = tensor(1, message(4, struct.pack("<ff", 1, 2)))
    found = read(event(1, ("n", whole), ("text", text), ("two", two)))
    assert found.columns == {"step": [1], "Wall time": [1.0], "n": [-7.0]}


def test_two_files_of_a_resumed_run_are_stitched(tmp_path):
    first = b"".join(event(k, ("distance", simple(k))) for k in range(1, 9))
    later = b"".join(event(k, ("distance", simple(k + 0.5))) for k in range(5, 12))
    for name, content in (("events.out.tfevents.1", first), ("events.out.tfevents.2", later)):
        (tmp_path / name).write_bytes(content)
    (run,) = us.import_runs(tmp_path).children.values()
    distance = run["distance_sq"].values[:, 0] ** 0.5
    np.testing.assert_allclose(distance, [1, 2, 3, 4, *np.arange(5.5, 12)])
    assert "its log goes back here from 8" in run.attrs["events"]


def test_a_mirror_in_double_precision_has_the_fit_of_its_recording(make, tmp_path):
    own = make(last=1000)
    total = own["distance_sq"].sum("tensor").values ** 0.5
    rates = own["learning_rate"].values
    content = b""
    for k, step in enumerate(own["iteration"].values.tolist()):
        numbers = (("ultraslow/distance", total[k]), ("ultraslow/learning_rate", rates[k]))
        content += event(
            step, *((t, tensor(2, message(4, struct.pack("<d", v)))) for t, v in numbers)
        )
    (tmp_path / "events.out.tfevents.1").write_bytes(content)
    fits = [
        fit_totals(runs_of(tree))
        for tree in (us.import_runs(tmp_path, batch_size=64), xr.DataTree.from_dict({"a": own}))
    ]
    for name in ("exponent", "exponent_low", "exponent_high", "slope", "decade_ratio"):
        np.testing.assert_allclose(fits[0][name], fits[1][name], rtol=1e-6)


def test_a_mirror_of_the_recorder_gives_its_recording(make, tmp_path):
    own = make(last=300)
    mirror = EventFile(tmp_path / "a", 0)
    mirror.write(scalars(own))
    mirror.close()
    found = us.import_runs(tmp_path, batch_size=64)["a"].to_dataset()
    assert set(own.data_vars) == set(found.data_vars)
    for name in own.data_vars:
        total = own[name].sum("tensor", skipna=False) if "tensor" in own[name].dims else own[name]
        np.testing.assert_array_equal(found[name].values.squeeze(), total.values, err_msg=name)


def test_a_mirror_that_shares_a_run_is_known_by_its_prefix(make, write):
    own = make(last=300)
    lines = [
        {
            "_step": 7 * k,
            "loss": 9.0,
            **{f"ultraslow/{name}": value for name, value in row.items()},
            "ultraslow/iteration": iteration,
        }
        for k, (iteration, row, _) in enumerate(scalars(own))
    ]
    log = write("history.jsonl", "\n".join(map(json.dumps, lines)))
    (found,) = us.import_runs(log, batch_size=64).children.values()
    np.testing.assert_array_equal(found["iteration"], own["iteration"])
    np.testing.assert_array_equal(found["loss"], own["loss"])


@pytest.mark.parametrize("size", [1, 11, 30])
def test_a_file_that_is_cut_off_is_told_and_its_whole_events_kept(size):
    whole = b"".join(event(k, ("d", simple(k))) for k in range(3))
    last = event(3, ("d", simple(3)))
    found = read(whole + last[:size])
    assert found.columns["d"] == [0, 1, 2]
    assert (
        f"cut off within the event at byte {len(whole)} of {len(whole) + size}" in found.notes[0]
    )


def test_every_flipped_bit_is_found():
    content = b"".join(event(k, ("d", simple(k))) for k in range(3))
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 4
        with pytest.raises(RecordError, match="checksum"):
            read(bytes(damaged))


def test_what_is_no_event_file():
    with pytest.raises(RecordError, match="the file is no event file"):
        read(b"step,distance\n1,2\n3,4\n")
    assert not read(record(message(3, b"brain.Event:2"))).columns
    with pytest.raises(RecordError, match="event 1: found a field of 9 bytes"):
        read(record(message(5, message(1, b"\x0a\x09d"))))


def test_a_folder_whose_own_file_holds_no_scalars_has_those_below_it(tmp_path):
    empty = record(message(3, b"brain.Event:2"))
    (tmp_path / "events.out.tfevents.1").write_bytes(empty)
    with pytest.raises(RecordError, match="holds no scalars"):
        us.import_runs(tmp_path)
    below = tmp_path / "distance_x"
    below.mkdir()
    (below / "events.out.tfevents.2").write_bytes(
        empty + event(1, ("distance", simple(1.5))) + event(2, ("distance", simple(2.5)))
    )
    (found,) = us.import_runs(tmp_path).children.values()
    assert found["distance_sq"].values[:, 0].tolist() == [2.25, 6.25]
    assert "holds no scalars" in found.attrs["origin"]
