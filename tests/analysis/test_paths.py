import os
from pathlib import Path

import pytest

from analysis.paths import absence, closed_file, recordings_at, segments_of


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.fixture
def sweep(tmp_path):
    """A closed run, a live one, one that is just being closed, and other files."""
    touch(
        tmp_path / "a.nc",
        tmp_path / "a" / "initial-00000-of-00001.safetensors",
        tmp_path / "deep" / "live" / "segment-000000000004.nc",
        tmp_path / "deep" / "live" / "segment-000000000000.nc",
        tmp_path / "deep" / "live" / "lease.json",
        tmp_path / "deep" / "closing.nc",
        tmp_path / "deep" / "closing" / "segment-000000000000.nc",
        tmp_path / "notes.txt",
        tmp_path / ".a.nc.0123.tmp",
    )
    return tmp_path


def names(folder, paths):
    return [str(path.relative_to(folder)) for path in paths]


def test_each_run_of_a_folder_is_found_once(sweep):
    found = recordings_at(str(sweep))
    assert names(sweep, found) == ["a.nc", "deep/closing.nc", "deep/live"]


def test_a_run_is_found_by_each_of_its_names(sweep):
    for given, expected in [
        ("a", "a.nc"),
        ("a.nc", "a.nc"),
        ("deep/closing", "deep/closing.nc"),
        ("deep/live", "deep/live"),
        ("deep/l*", "deep/live"),
    ]:
        assert names(sweep, recordings_at(str(sweep / given))) == [expected]


def test_links_to_folders_are_not_followed_and_links_to_files_are(sweep):
    (sweep / "circle").symlink_to(sweep)
    (sweep / "b.nc").symlink_to(sweep / "a.nc")
    (sweep / "gone.nc").symlink_to(sweep / "nowhere")
    assert names(sweep, recordings_at(str(sweep))) == [
        "a.nc",
        "b.nc",
        "deep/closing.nc",
        "deep/live",
    ]


def test_names_that_look_like_patterns_are_names_first(tmp_path):
    touch(tmp_path / "run[1].nc")
    assert names(tmp_path, recordings_at(str(tmp_path / "run[1].nc"))) == ["run[1].nc"]


def test_a_folder_that_may_not_be_looked_into_is_given_as_it_is(tmp_path, monkeypatch):
    touch(tmp_path / "a.nc")
    (tmp_path / "lost+found").mkdir()
    scandir = os.scandir

    def refusing(path):
        if Path(path).name == "lost+found":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    assert names(tmp_path, recordings_at(str(tmp_path))) == ["a.nc", "lost+found"]


def test_why_nothing_was_found(tmp_path):
    assert absence(str(tmp_path)).startswith("the folder holds no recordings")
    assert absence(str(tmp_path / "*.nc")) == "the pattern matches no recording"
    assert absence(str(tmp_path / "a")) == "no such file or folder"


def test_segments_are_in_the_order_of_their_records(sweep):
    found = segments_of(sweep / "deep" / "live")
    assert [path.name for path in found] == ["segment-000000000000.nc", "segment-000000000004.nc"]
    assert segments_of(sweep / "nowhere") == []
    assert closed_file(sweep / "a") == sweep / "a.nc"
