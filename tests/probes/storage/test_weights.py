import errno
import hashlib
import json

import pytest
import torch
from safetensors.torch import load_file

import ultraslow.probes.storage.weights as weights
from ultraslow.probes.storage.weights import (
    Rows,
    read_header,
    read_rows,
    refuse_damaged,
    rows_of,
    write,
)


def tensors():
    generator = torch.Generator().manual_seed(0)
    return {
        "matrix": torch.randn(6, 4, generator=generator),
        "transposed": torch.randn(4, 6, generator=generator).T,
        "double": torch.randn(5, dtype=torch.float64, generator=generator),
        "half": torch.randn(3, 2, generator=generator).half(),
        "scalar": torch.tensor(-1.5),
        "empty": torch.zeros(0, 3),
        "line": torch.zeros(2, 0),
    }


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "w.safetensors"
    with path.open("wb") as file:
        digest = write(file, tensors())
    return path, digest


def test_the_format_is_that_of_safetensors(saved):
    """Twin: the library's own reader."""
    path, _ = saved
    found = load_file(path)
    assert found.keys() == tensors().keys()
    assert all(torch.equal(found[name], values) for name, values in tensors().items())


def test_the_checksum_is_that_of_the_values_one_after_the_other(saved):
    path, digest = saved
    values = [w.contiguous().reshape(-1).view(torch.uint8).numpy() for w in tensors().values()]
    expected = hashlib.sha256(b"".join(part.tobytes() for part in values))
    assert digest == expected.digest()
    assert read_header(path).digest == expected.hexdigest()
    refuse_damaged(read_header(path))


def test_the_header_tells_the_rows(saved):
    rows = read_header(saved[0]).rows
    assert list(rows) == list(tensors())
    assert rows["matrix"] == Rows(torch.float32, (6, 4), 0, 6)
    assert rows["scalar"] == Rows(torch.float32, (), 0, 1)
    assert rows["empty"] == Rows(torch.float32, (0, 3), 0, 0)
    assert all(rows[name] == rows_of(values) for name, values in tensors().items())


def test_what_safetensors_has_no_type_for_is_stored_as_float32(tmp_path):
    weights = torch.tensor([1.0, -2.0, 448.0]).to(torch.float8_e4m3fn)
    with (tmp_path / "w").open("wb") as file:
        write(file, {"w": weights})
    assert rows_of(weights).dtype == torch.float32
    assert torch.equal(load_file(tmp_path / "w")["w"], weights.float())


@pytest.mark.parametrize(("first", "count"), [(0, 6), (2, 3), (5, 1), (3, 0)])
def test_any_rows_are_read(saved, first, count):
    into = torch.full((count, 4), torch.nan)
    read_rows([read_header(saved[0])], "matrix", Rows(torch.float32, (6, 4), first, count), into)
    assert torch.equal(into, tensors()["matrix"][first : first + count])


def rewritten(path, **changes):
    """The file with another header and the same values."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"].update(changes)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])


@pytest.mark.parametrize(
    "changes",
    [
        {"whole": "{"},
        {"whole": "{}", "sha256": "0"},
        {"whole": json.dumps({"other": [[2], 0]})},
        {"whole": json.dumps({"matrix": [6, 0]})},
        {"whole": json.dumps(dict.fromkeys(tensors(), []))},
    ],
)
def test_a_header_that_makes_no_sense_is_refused(saved, changes):
    rewritten(saved[0], **changes)
    with pytest.raises(ValueError, match="cannot be read as initial weights"):
        read_header(saved[0])


def test_other_files_are_refused(tmp_path):
    (tmp_path / "w").write_bytes(b"\x80\x04 a pickle, which is never opened")
    for name in ("w", "missing"):
        with pytest.raises(ValueError, match=f"{name} cannot be read as initial weights"):
            read_header(tmp_path / name)


@pytest.mark.parametrize("failing", ["safe_open", "values"])
def test_a_disk_that_refuses_is_an_error_of_the_disk(tmp_path, monkeypatch, failing):
    """Whatever the library calls it, which maps files into memory by torch."""
    path = tmp_path / "initial-00000-of-00001.safetensors"
    with path.open("wb") as file:
        write(file, {"w": torch.ones(3, 2)})
    source = read_header(path)

    def refuse(*_, **__):
        raise RuntimeError("unable to mmap 24 bytes from file: Input/output error (5)")

    monkeypatch.setattr(weights, "safe_open", refuse)
    with pytest.raises(OSError, match="unable to mmap") as caught:
        if failing == "safe_open":
            read_header(path)
        else:
            read_rows([source], "w", source.rows["w"], torch.zeros(3, 2))
    assert caught.value.errno == errno.EIO
    assert caught.value.filename == str(path)
