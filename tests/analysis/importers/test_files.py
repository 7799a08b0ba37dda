import gzip
import hashlib
import json

import pytest

from ultraslow.analysis.importers.files import sheets_of
from ultraslow.analysis.importers.sheet import column_numbers
from ultraslow.diffusion.recording import RecordError

TEXT = "step,distance\n1,1.5\n2,2.5\n"


def only(path):
    (found,) = sheets_of([path])
    return found


@pytest.mark.parametrize(
    "content",
    [
        TEXT.encode(),
        TEXT.replace("\n", "\r\n").encode(),
        TEXT.replace("\n", "\r").encode(),
        TEXT.encode("utf-8-sig"),
        TEXT.encode("utf-16"),
        gzip.compress(TEXT.encode(), mtime=0),
        gzip.compress(TEXT[:20].encode(), mtime=0) + gzip.compress(TEXT[20:].encode(), mtime=0),
    ],
    ids=["plain", "windows", "old", "mark", "utf-16", "packed", "in parts"],
)
def test_a_text_is_read_however_it_is_stored(write, content):
    found = only(write("curve.csv", content))
    assert found.columns == {"step": ["1", "2"], "distance": ["1.5", "2.5"]}
    assert found.sha256 == hashlib.sha256(content).hexdigest()
    assert found.name == "curve"


def test_the_content_tells_the_format_and_not_the_name(write):
    found = only(write("curve.txt", json.dumps({"step": 1, "d": 2}) + '\n{"step": 2}'))
    assert found.kind == "JSON, an object a line"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty, expected rows"),
        (b"\n \n", "is empty, expected rows"),
        (b"\x89HDF\r\n\x1a\n", "is a NetCDF or HDF5 file: recordings are read as they are"),
        (b"PK\x03\x04abc", "is an archive, .* `ultraslow checkpoints` reads weights"),
        (b"\x80\x02}q\x00.", "is a pickle, which is never opened"),
        (b"PAR1\x15\x04", "is a Parquet file"),
        (b":W&B\xbe\xe1\x00", "is the log of wandb itself"),
        (b"step,d\n1,\xff\n", "line 2: found .*, expected text in UTF-8"),
        (b"step,d\0\n1,2\n", "holds zero bytes"),
        (gzip.compress(TEXT.encode(), mtime=0)[:-9], "is cut off: the packed data has no end"),
        (gzip.compress(TEXT.encode(), mtime=0)[:12] + b"xxxxxxxxxx", "is damaged"),
    ],
)
def test_what_is_no_text_says_so(write, content, said):
    path = write("curve.csv", content)
    with pytest.raises(RecordError, match=said) as told:
        only(path)
    assert str(path) in str(told.value)


def test_a_packed_file_that_unfolds_without_end_is_refused(write, monkeypatch):
    monkeypatch.setattr("ultraslow.analysis.importers.files._LIMIT", 1000)
    with pytest.raises(RecordError, match="unpacks to more than 1000 bytes"):
        only(write("curve.csv", gzip.compress(b"step,d\n" + b"1,2\n" * 1000)))


def test_folders_stand_for_the_logs_in_them(write, tmp_path):
    write("logs/version_0/metrics.csv", TEXT)
    write("logs/version_1/metrics.csv", TEXT)
    write("out/checkpoint-20/trainer_state.json", json.dumps({"log_history": [{"step": 1}]}))
    write("out/checkpoint-8/trainer_state.json", json.dumps({"log_history": [{"step": 1}]}))
    write("logs/version_1/hparams.yaml", "a: 1")
    found = list(sheets_of([tmp_path]))
    assert [one.name for one in found] == ["logs-version_0", "logs-version_1", "out-checkpoint-20"]


@pytest.mark.parametrize("name", ["nowhere.csv", "empty"])
def test_what_is_not_there_says_so(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecordError, match="no such file|the folder holds no event files"):
        only(tmp_path / name)


@pytest.mark.parametrize(
    "text",
    [
        "step,distance\n1,1.25\n20,2.5\n",
        'step;distance\n1;"1.25"\n20;"2.5"\n',
        '{"step": 1, "distance": 1.25}\n{"step": 20, "distance": 2.5}\n',
        '[{"step": 1, "distance": 1.25}, {"step": 20, "distance": 2.5}]',
    ],
)
def test_a_file_that_is_cut_off_anywhere_gives_no_other_number_untold(write, text):
    whole = [(1.0, 1.25), (20.0, 2.5)]
    for end in range(len(text)):
        try:
            found = only(write("curve.csv", text[:end]))
            read = [column_numbers(found, name).values.tolist() for name in ("step", "distance")]
        except RecordError:
            continue
        rows = list(zip(*read, strict=True))
        assert found.notes or rows == whole[: len(rows)], text[:end]
