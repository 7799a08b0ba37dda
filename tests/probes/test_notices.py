import warnings
from pathlib import Path

from probes.notices import Notices


def test_each_message_is_given_once_and_an_empty_one_never():
    notices = Notices(Path("runs/a"))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for message in ("late", "", "late", "early"):
            notices.warn(message)
    assert [str(w.message) for w in told] == ["recording runs/a: late", "recording runs/a: early"]
    assert {w.category for w in told} == {RuntimeWarning}
