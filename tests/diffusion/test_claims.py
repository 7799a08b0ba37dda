from dataclasses import dataclass
from typing import Any

import numpy as np

from diffusion import claims
from diffusion.claims import MEMORY_LIMIT, claim_faults, size_fault, text_faults


@dataclass
class Variable:
    """What `claims` asks of a variable in a header."""

    dtype: Any
    datatype: Any
    shape: tuple[int, ...]
    chunks: Any = "contiguous"
    texts: Any = ()

    def chunking(self):
        return self.chunks

    def __getitem__(self, key):
        return np.array(self.texts, dtype=object)[key]


def number(kind, *shape):
    return Variable(np.dtype(kind), np.dtype(kind), shape)


def test_what_fits_the_limit_is_no_fault_and_one_value_more_is():
    half = MEMORY_LIMIT // 16
    assert list(claim_faults({"a": number("f8", half), "b": number("f8", half)})) == []
    (fault,) = claim_faults({"a": number("f8", half + 1), "b": number("f8", half)})
    assert f"at most 2 GiB are read; the largest is 'a' of ({half + 1},)" in fault


def test_products_beyond_64_bits_are_no_escape():
    """2⁴⁰·2⁴⁰ is 0 in 64 bits."""
    (fault,) = claim_faults({"a": number("i8", 2**40, 2**40)})
    assert "claims 9.01e+15 GiB" in fault


def test_text_counts_as_what_it_takes_in_memory():
    text = Variable(str, str, (MEMORY_LIMIT // 64,))
    assert list(claim_faults({"tensor": text})) == []
    assert len(list(claim_faults({"tensor": text, "run": Variable(str, str, ())}))) == 1


def test_blocks_that_are_read_as_a_whole_count_with_their_length():
    """One byte of a variable without end may lie in a block of 4 GiB."""
    one = Variable(np.dtype("u1"), np.dtype("u1"), (1,), chunks=[MEMORY_LIMIT + 1])
    assert len(list(claim_faults({"a": one}))) == 1
    one.chunks = [MEMORY_LIMIT]
    assert list(claim_faults({"a": one})) == []


def test_one_long_text_among_many_is_refused(monkeypatch):
    """Side by side all would be as wide as it."""
    monkeypatch.setattr(claims, "MEMORY_LIMIT", 4 * 300 * 1000)
    names = Variable(str, str, (300,), texts=["x" * 1000, *["y"] * 299])
    run = Variable(str, str, (), texts="run")
    assert list(text_faults({"tensor": names, "loss": number("f8", 3)})) == []
    (fault,) = text_faults({"tensor": names, "run": run})
    assert "'run' has 1 of up to 3 characters" in fault


def test_names_are_cut_and_types_of_files_refused():
    (fault,) = claim_faults({"x" * 10_000: Variable(np.dtype("i8"), object(), (1,))})
    assert "types of their own" in fault
    assert len(fault) < 200


def test_sizes():
    assert size_fault(MEMORY_LIMIT) is None
    assert size_fault(MEMORY_LIMIT + 1) == "has 2 GiB, at most 2 GiB are read"
