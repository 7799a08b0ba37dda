import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffusion.seal import LENGTH, is_broken, seal


@given(content=st.binary(max_size=200), data=st.data())
def test_every_flipped_bit_before_the_seal_is_seen(content, data):
    whole = content + seal(content)
    assert not is_broken(whole)
    if content:
        place = data.draw(st.integers(0, 8 * len(content) - 1))
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << place % 8
        assert is_broken(bytes(damaged))


@pytest.mark.parametrize("content", [b"", b"x", b"no seal " * 20])
def test_what_was_never_sealed_is_not_broken(content):
    assert not is_broken(content)


def test_the_length_is_that_of_a_seal():
    assert len(seal(b"content")) == LENGTH
