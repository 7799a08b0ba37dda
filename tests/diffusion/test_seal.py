import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffusion.seal import LENGTH, checksum, seal


@settings(deadline=None)  # a busy machine makes any example slow now and then
@given(content=st.binary(max_size=200), data=st.data())
def test_every_flipped_bit_before_the_seal_is_seen(content, data):
    whole = content + seal(content)
    assert checksum(whole) == hashlib.sha256(whole).hexdigest()
    if content:
        place = data.draw(st.integers(0, 8 * len(content) - 1))
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << place % 8
        assert checksum(bytes(damaged)) is None


@pytest.mark.parametrize("content", [b"", b"x", b"no seal " * 20])
def test_what_was_never_sealed_is_not_broken(content):
    assert checksum(content) == hashlib.sha256(content).hexdigest()


def test_the_length_is_that_of_a_seal():
    assert len(seal(b"content")) == LENGTH
