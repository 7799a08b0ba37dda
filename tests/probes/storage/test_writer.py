import numpy as np
import pytest
from records import window_updates

from ultraslow.diffusion.recording.contract import check
from ultraslow.probes.buffer.window import Snapshot, empty_window, records_of
from ultraslow.probes.storage.segments import SegmentStore
from ultraslow.probes.storage.writer import RecordingWriter, _thinned


def test_the_first_record_waits_until_units_are_known(tmp_path):
    store = SegmentStore(tmp_path / "run")
    static = {"run": "run", "batch_size": 4, "tensor": ["a"], "tensor_size": [3]}
    writer = RecordingWriter(store, static, {}, noise=True)
    store.open()
    window = empty_window(1, 0.1)
    values = {"distance_sq": np.zeros(1), "weight_sq": np.array([2.0])}
    at_start = Snapshot(0, values, 0.0, 0.0)
    (record,), _ = records_of(
        window, window_updates(0), [at_start], start=0, initial_sq=np.ones(1)
    )
    writer.write([record])
    assert store.segments() == []
    later = Snapshot(2, {**values, "distance_sq": np.ones(1)}, 0.0, 0.0)
    (record,), _ = records_of(window, window_updates(2), [later], start=0, initial_sq=np.ones(1))
    writer.write([record])
    assert len(store.segments()) == 1
    dataset = writer.dataset([record])
    check(dataset)
    assert "noise_absent" not in dataset.attrs


@pytest.mark.parametrize("count", [3, 4, 9, 10])
def test_records_that_are_dropped_leave_their_sums_to_the_next(count):
    records = [
        {"iteration": i, "step_sq": np.array([i, 1.0]), "nonfinite_losses": i, "loss": float(i)}
        for i in range(count)
    ]
    kept = _thinned(records)
    assert len(kept) == count // 2 + 1
    assert [record["iteration"] for record in (kept[0], kept[-1])] == [0, count - 1]
    for last in kept:
        past = range(last["iteration"] + 1)
        so_far = [record for record in kept if record["iteration"] in past]
        assert sum(record["nonfinite_losses"] for record in so_far) == sum(past)
        path = np.sum([record["step_sq"] for record in so_far], axis=0)
        assert path.tolist() == [sum(past), len(past)]
        assert last["loss"] == last["iteration"]


def test_records_dropped_before_a_resumption_are_counted_as_well(tmp_path):
    static = {"run": "run", "batch_size": 4, "tensor": ["a"], "tensor_size": [3]}
    store = SegmentStore(tmp_path / "run")
    writer = RecordingWriter(store, static, {"records_dropped": "5"}, noise=True, dropped=2)
    record = {"iteration": 0, "units": np.nan}
    assert writer.dataset([record]).attrs["records_dropped"] == "7"


def test_a_hole_is_told_of_with_the_first_record_after_it(tmp_path):
    static = {"run": "run", "batch_size": 4, "tensor": ["a"], "tensor_size": [3]}
    store = SegmentStore(tmp_path / "run")
    writer = RecordingWriter(
        store, static, {"gaps": "[[0, 2]]"}, noise=True, several_units=True, gap=7
    )
    store.open()
    values = {"distance_sq": np.zeros(1), "weight_sq": np.array([2.0])}
    for start, iteration in ((12, 14), (14, 20)):
        at = Snapshot(iteration, values, 0.0, 0.0)
        updates = window_updates(iteration - start)
        window = empty_window(1, 0.1)
        made, _ = records_of(window, updates, [at], start=start, initial_sq=np.ones(1))
        writer.write(made)
        assert store.read().attrs["gaps"] == "[[0, 2], [7, 14]]"
