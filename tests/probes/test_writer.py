import numpy as np

from diffusion.recording import check
from probes.store import SegmentStore
from probes.updates import Measurement, Updates, empty_window, records_of
from probes.writer import RecordingWriter


def test_the_first_record_waits_until_units_are_known(tmp_path):
    store = SegmentStore(tmp_path / "run")
    static = {"run": "run", "batch_size": 4, "tensor": ["a"], "tensor_size": [3]}
    writer = RecordingWriter(store, static, {}, noise=True)
    store.open()
    window = empty_window(1, 0.1)
    at_start = Measurement(0, {"squares": np.array([[0.0], [2.0]])}, 0.0, 0.0)
    (record,), _ = records_of(
        window, window_updates(0), [at_start], start=0, initial_sq=np.ones(1)
    )
    writer.write([record])
    assert store.segments() == []
    later = Measurement(2, {"squares": np.array([[1.0], [2.0]])}, 0.0, 0.0)
    (record,), _ = records_of(window, window_updates(2), [later], start=0, initial_sq=np.ones(1))
    writer.write([record])
    assert len(store.segments()) == 1
    dataset = writer.dataset([record])
    check(dataset)
    assert "noise_absent" not in dataset.attrs


def window_updates(count):
    ones = np.ones(count)
    return Updates(
        unit_sq=np.ones((count, 1)),
        total_sq=np.ones((count, 1)),
        units=2 * ones,
        u=ones / 2,
        v=ones / 4,
        samples=4 * ones,
        loss=ones,
        nonfinite_losses=0 * ones,
        learning_rate=0.1 * ones,
        clip_factor=ones,
        loss_scale=np.nan * ones,
        skipped=np.zeros(count, dtype=int),
    )
