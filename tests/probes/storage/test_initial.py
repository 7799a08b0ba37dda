import json

import pytest
import torch
from safetensors.torch import load_file

from ultraslow.diffusion.recording import disk
from ultraslow.probes.distributed.processes import Processes
from ultraslow.probes.storage import initial
from ultraslow.probes.storage.initial import (
    Part,
    identity,
    load_weights,
    name_of,
    own_part,
    save_part,
)
from ultraslow.probes.storage.weights import Rows

WHOLE = Part(0, 1, True)


def tensors():
    torch.manual_seed(0)
    return {
        "conv": torch.randn(4, 3, 2, 2).to(memory_format=torch.channels_last),
        "bias": torch.randn(5, dtype=torch.float64),
        "half": torch.randn(6, 2).bfloat16(),
        "scalar": torch.tensor(2.5),
        "none": torch.zeros(0, 3),
    }


def empty(parameters):
    return [torch.full_like(parameter, torch.nan) for parameter in parameters.values()]


def test_weights_come_back_and_others_read_the_file(tmp_path):
    saved = tensors()
    save_part(tmp_path, WHOLE, saved)
    into = empty(saved)
    load_weights(tmp_path, saved, into)
    for weights, found in zip(saved.values(), into, strict=True):
        assert torch.equal(weights, found)
    others = load_file(tmp_path / name_of(0, 1))
    assert all(torch.equal(others[name], weights) for name, weights in saved.items())


def test_the_folder_of_the_weights_is_synced(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(disk, "sync_folder", synced.append)
    save_part(tmp_path, WHOLE, tensors())
    assert synced == [tmp_path]


def test_the_identity_depends_on_every_tensor(tmp_path):
    digests = set()
    for changed in (None, "conv", "bias", "half", "scalar"):
        weights = tensors()
        if changed is not None:
            weights[changed] = weights[changed] * 1.01
        save_part(tmp_path / str(changed), WHOLE, weights)
        digests.add(identity(tmp_path / str(changed)))
    assert len(digests) == 5
    assert identity(tmp_path / "nothing") == ""


def rows_saved(folder, cuts, weights):
    """Save rows between cuts as the shards of one tensor."""
    for index, (start, stop) in enumerate(zip(cuts, cuts[1:], strict=False)):
        part = weights[start:stop]
        entries = {"w": part}
        target = folder / name_of(index, len(cuts) - 1)
        initial.save_part(folder, Part(index, len(cuts) - 1, True), entries)
        _say_whole(target, list(weights.shape), start)


def _say_whole(path, shape, first):
    """Let a file tell that its rows belong to a larger tensor, as that of a shard does."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"]["whole"] = json.dumps({"w": [shape, first]})
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])


@pytest.mark.parametrize("cuts", [[0, 7], [0, 3, 7], [0, 2, 4, 6, 7], [0, 4, 7, 7]])
def test_any_rows_are_read_from_any_shards(tmp_path, cuts, monkeypatch):
    weights = torch.arange(21.0).view(7, 3)
    rows_saved(tmp_path, cuts, weights)
    for start in range(8):
        for stop in range(start, 8):
            rows = Rows(torch.float32, (7, 3), start, stop - start)
            monkeypatch.setattr(initial, "rows_of", lambda parameter, rows=rows: rows)
            into = torch.full((stop - start, 3), torch.nan)
            load_weights(tmp_path, {"w": weights}, [into])
            assert torch.equal(into, weights[start:stop]), (start, stop)


def test_a_missing_shard_is_said(tmp_path):
    rows_saved(tmp_path, [0, 3, 7], torch.zeros(7, 3))
    (tmp_path / name_of(1, 2)).unlink()
    with pytest.raises(ValueError, match="rows of w up to 3 .* expected all up to 7: a file of"):
        load_weights(tmp_path, {"w": torch.zeros(7, 3)}, [torch.zeros(7, 3)])
    assert identity(tmp_path) == ""


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"conv": None}, r"tensors \['conv'\] were saved and are not in the model, \[\] were not"),
        ({"new": torch.zeros(1)}, r"tensors \[\] were saved .* \['new'\] were not saved"),
        ({"bias": torch.zeros(6).double()}, r"bias was saved with shape \(5,\), found \(6,\)"),
        ({"bias": torch.zeros(5)}, "bias was saved as torch.float64, found torch.float32"),
    ],
)
def test_what_differs_is_said(tmp_path, change, fault):
    save_part(tmp_path, WHOLE, tensors())
    wanted = {name: w for name, w in {**tensors(), **change}.items() if w is not None}
    with pytest.raises(ValueError, match=fault):
        load_weights(tmp_path, wanted, empty(wanted))


@pytest.mark.parametrize("damage", ["flip", "cut", "header", "empty"])
def test_damage_is_said(tmp_path, damage):
    save_part(tmp_path, WHOLE, tensors())
    file = tmp_path / name_of(0, 1)
    content = bytearray(file.read_bytes())
    content[-3 if damage == "flip" else 20] ^= 8 if damage in ("flip", "header") else 0
    file.write_bytes({"cut": content[:-10], "empty": b""}.get(damage, content))
    with pytest.raises(ValueError, match=r"is damaged|cannot be read as initial weights"):
        load_weights(tmp_path, tensors(), empty(tensors()))


def test_a_disk_that_refuses_leaves_nothing_behind(tmp_path):
    (tmp_path / name_of(0, 1)).mkdir()
    with pytest.raises(OSError, match="initial-00000-of-00001"):
        save_part(tmp_path, WHOLE, tensors())
    assert [file.name for file in tmp_path.iterdir()] == [name_of(0, 1)]


def test_one_process_of_a_replicated_model_saves():
    parameters = [torch.zeros(2)]
    assert own_part(parameters, Processes(2, 0, (), 2)) == WHOLE
    assert own_part(parameters, Processes(2, 1, (), 2)) == Part(0, 1, False)
