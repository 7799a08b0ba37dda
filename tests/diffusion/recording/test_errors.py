import errno

import pytest

from ultraslow.diffusion.recording.errors import RecordError, brief, damage, escaped


@pytest.mark.parametrize("error", [OSError("gone"), MemoryError(), KeyError("a"), ValueError("b")])
def test_what_a_library_raises_is_a_fault_of_the_file(error):
    with pytest.raises(RecordError) as caught, damage("a.nc", "cannot be read"):
        raise error
    assert caught.value.source == "a.nc"
    assert caught.value.faults == (f"cannot be read ({brief(error)})",)
    assert caught.value.__cause__ is error


def test_faults_that_were_found_and_interrupts_pass():
    found = RecordError("b.nc", ["no schema"])
    for error in (found, KeyboardInterrupt()):
        with pytest.raises(type(error)) as caught, damage("a.nc", "cannot be read"):
            raise error
        assert caught.value is error


def test_a_message_is_one_short_line():
    assert brief(ValueError("two\n  lines")) == "two lines"
    assert brief(ValueError("x" * 1000)) == "x" * 200
    assert brief(OSError(errno.ENOENT, "No such file", "a.nc")) == "No such file"
    assert brief(MemoryError()) == "MemoryError"


@pytest.mark.parametrize("character", [chr(k) for k in (*range(32), *range(127, 160))])
def test_no_control_character_reaches_a_terminal(character):
    assert escaped(f"a{character}b").isprintable()


@pytest.mark.parametrize("character", ["\u202e", "\u2028", "\udcff", "\u200b"])
def test_nor_does_what_turns_the_text_or_cannot_be_written(character):
    assert escaped(f"a{character}b").isprintable()
    escaped(character).encode()


def test_words_and_their_lines_stay():
    assert escaped("tr Σ ≤ 3\u00a0% – ‖w‖²") == "tr Σ ≤ 3\u00a0% – ‖w‖²"
    assert escaped("a\nb\x07", lines=True) == "a\nb\\x07"
