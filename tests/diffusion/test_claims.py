from collections import namedtuple

import numpy as np

from diffusion.claims import MEMORY_LIMIT, claim_faults, size_fault

Variable = namedtuple("Variable", "dtype datatype shape")


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


def test_names_are_cut_and_types_of_files_refused():
    (fault,) = claim_faults({"x" * 10_000: Variable(np.dtype("i8"), object(), (1,))})
    assert "types of their own" in fault
    assert len(fault) < 200


def test_sizes():
    assert size_fault(MEMORY_LIMIT) is None
    assert size_fault(MEMORY_LIMIT + 1) == "has 2 GiB, at most 2 GiB are read"
