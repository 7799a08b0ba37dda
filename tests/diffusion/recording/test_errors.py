import errno

import pytest

from ultraslow.diffusion.recording.errors import RecordError, brief, damage


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
