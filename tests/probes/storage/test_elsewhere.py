"""w0 on disk: the same numbers as from memory, and what a disk does wrong is an error."""

import pytest
import torch

from ultraslow.probes.norms import _MINOR, BLOCK, same_values, squared_distances, stretch
from ultraslow.probes.quantities.sketch import Sketcher
from ultraslow.probes.storage.elsewhere import OnDisk, OnHost, kept_on
from ultraslow.probes.storage.initial import Part, load_weights, name_of, save_part
from ultraslow.probes.storage.weights import Rows, read_header


def saved(folder, tensors):
    named = {f"t{index}": tensor for index, tensor in enumerate(tensors)}
    save_part(folder, Part(0, 1, True), named)
    kept = [kept_on("disk", tensor) for tensor in tensors]
    load_weights(folder, named, kept, checked=False)
    return kept


def tensors(*sizes, dtype=torch.float32):
    torch.manual_seed(0)
    return [torch.randn(size).to(dtype) for size in sizes]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_distances_from_disk_are_those_from_memory_to_the_last_bit(tmp_path, dtype):
    initial = tensors(3, 0, _MINOR, _MINOR + 1, 2 * BLOCK + 5, dtype=dtype)
    weights = [w0 + 0.01 for w0 in initial]
    kept = saved(tmp_path, initial)
    assert torch.equal(squared_distances(weights, kept), squared_distances(weights, initial))
    assert torch.equal(squared_distances(kept, kept), squared_distances(initial, initial))


def test_tensors_in_another_order_of_memory_are_compared_value_by_value(tmp_path):
    initial = [tensors((40, 30, 5, 5))[0].to(memory_format=torch.channels_last)]
    weights = [initial[0] + torch.randn(40, 30, 5, 5)]
    found = squared_distances(weights, saved(tmp_path, initial))
    torch.testing.assert_close(found, squared_distances(weights, initial), rtol=1e-7, atol=0)


def test_stretches_of_every_layout_are_in_row_major_order(tmp_path):
    plain = tensors((7, 6, 5))[0]
    for one in (plain, plain.transpose(0, 2), plain[:, 2:5], torch.tensor(2.5)):
        flat = one.reshape(-1)
        [kept] = saved(tmp_path, [one.clone()])
        for start, stop in ((0, flat.numel()), (0, 1), (flat.numel() // 3, flat.numel() // 2)):
            assert torch.equal(stretch(one, start, stop), flat[start:stop])
            assert torch.equal(kept.values(start, stop), flat[start:stop])
        (tmp_path / name_of(0, 1)).unlink()


def test_a_sketch_is_that_of_weights_in_memory(tmp_path):
    initial = tensors(5000, (60, 50))
    weights = [w0 + 0.01 for w0 in initial]
    sketcher = Sketcher([5000, 3000], [0, 5000])
    found = sketcher.measure(weights, saved(tmp_path, initial))
    assert torch.equal(found, sketcher.measure(weights, initial))


def test_rows_are_read_from_the_files_that_hold_them(tmp_path):
    """As where a run goes on with another sharding."""
    whole = tensors((6, 4))[0]
    sources = []
    for number, (first, count) in enumerate(((0, 2), (2, 4))):
        save_part(tmp_path / str(number), Part(0, 1, True), {"w": whole[first : first + count]})
        header = read_header(tmp_path / str(number) / name_of(0, 1))
        rows = {"w": Rows(torch.float32, (6, 4), first, count)}
        sources.append(type(header)(header.path, rows, header.digest))
    part = OnDisk(whole[1:5])
    part.found("w", Rows(torch.float32, (6, 4), 1, 4), sources)
    assert torch.equal(part.values(0, 16), whole[1:5].reshape(-1))
    assert torch.equal(part.values(3, 6), whole[1:5].reshape(-1)[3:6])


def test_a_file_is_read_when_its_name_is_gone_and_what_is_cut_off_is_an_error(tmp_path):
    initial = tensors(100)
    [kept] = saved(tmp_path, initial)
    file = tmp_path / name_of(0, 1)
    held = file.rename(tmp_path / "elsewhere")
    assert same_values(initial[0], kept)
    assert not same_values(initial[0] + 1e-7, kept)
    with held.open("r+b") as stream:
        stream.truncate(held.stat().st_size - 4)
    with pytest.raises(OSError, match="end at byte .*, expected 4 more"):
        kept.values(0, 100)


def test_weights_of_the_host_stay_tensors_and_those_of_a_device_are_read_in_blocks():
    values = tensors((3, 4))[0]
    assert torch.equal(kept_on("host", values), values)
    copied = OnHost(values.t())
    assert torch.equal(copied.values(2, 7), values.t().reshape(-1)[2:7])
    assert float(squared_distances([values.t() + 1], [copied])[0]) == pytest.approx(12.0)
