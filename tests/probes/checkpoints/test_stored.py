"""Values of tensors in any number of pieces are those of the whole tensor."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from ultraslow.diffusion.recording import RecordError
from ultraslow.probes.checkpoints.stored import OpenFiles, Piece, Stored, incomplete, read_values


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("pieces")


def in_pieces(folder, values, cuts):
    """A tensor whose boxes, cut along each dimension, lie in files of their own."""
    pieces = []
    spans = [
        list(itertools.pairwise(sorted({0, size, *(cut for cut in own if cut < size)})))
        for size, own in zip(values.shape, cuts, strict=True)
    ]
    for number, box in enumerate(itertools.product(*spans)):
        part = values[tuple(slice(*span) for span in box)].copy()
        file = folder / f"{number}.bin"
        file.write_bytes(b"head" + part.tobytes())
        first, sizes = tuple(a for a, _ in box), tuple(b - a for a, b in box)
        pieces.append(Piece(file, 4, first, sizes))
    return Stored(values.shape, torch.float32, tuple(pieces))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_stretch_of_any_pieces(folder, data):
    shape = data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=3))
    values = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    cuts = [data.draw(st.lists(st.integers(1, 5), max_size=2)) for _ in shape]
    tensor = in_pieces(folder, values, cuts)
    assert not list(incomplete({"w": tensor}))
    start = data.draw(st.integers(0, values.size - 1))
    stop = data.draw(st.integers(start + 1, values.size))
    held = np.zeros((stop - start) * 4, dtype=np.uint8)
    with OpenFiles() as files:
        read_values(files, tensor, start, held)
    np.testing.assert_array_equal(held.view(np.float32), values.reshape(-1)[start:stop])


def test_places_have_the_index_that_users_know():
    tensor = Stored((2, 3), torch.float32, (), order=(1, 0))
    assert tensor.index(1) == (1, 0)
    assert Stored((2, 3), torch.float32, ()).index(4) == (1, 1)


def test_pieces_that_lack_values_are_named():
    piece = Piece("x", 0, (0, 0), (2, 3))
    assert "found 6 of its values" in next(
        incomplete({"w": Stored((4, 3), torch.float32, (piece,))})
    )
    outside = Piece("x", 0, (3, 0), (2, 3))
    stored = Stored((4, 3), torch.float32, (piece, outside))
    assert "lies outside" in next(incomplete({"w": stored}))


def test_a_file_that_ends_before_is_named(folder):
    file = folder / "short.bin"
    file.write_bytes(b"1234")
    with OpenFiles() as files, pytest.raises(RecordError, match=r"short.bin: ends at byte 4"):
        files.read(file, 0, np.zeros(8, dtype=np.uint8))
