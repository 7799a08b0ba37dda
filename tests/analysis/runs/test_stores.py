"""Recordings in an object store are read as those of a folder are."""

import fsspec
import pytest

from ultraslow.analysis.runs import runs_of, unusable
from ultraslow.analysis.runs.catalog import catalog
from ultraslow.analysis.runs.load import load
from ultraslow.diffusion.recording import RecordError, segment_file, to_bytes


@pytest.fixture
def copied(make, tmp_path):
    """A folder with a closed, a live and a damaged recording, and its copy in a store."""
    folder = tmp_path / "runs"
    (folder / "live").mkdir(parents=True)
    (folder / "closed.nc").write_bytes(to_bytes(make(run="closed", seed=0)))
    whole = make(run="live", seed=1)
    for span in (slice(0, 5), slice(5, 9)):
        part = whole.isel(iteration=span)
        segment_file(folder / "live", int(part["iteration"][0])).write_bytes(to_bytes(part))
    damaged = bytearray((folder / "closed.nc").read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (folder / "damaged.nc").write_bytes(damaged)
    store = fsspec.filesystem("memory")
    store.store.clear()
    store.put(str(folder) + "/", "/bucket/runs/", recursive=True)
    yield folder
    store.store.clear()


@pytest.mark.filterwarnings("ignore:not used")
@pytest.mark.parametrize("form", ["memory://bucket/runs", "memory://bucket/runs/*", "file"])
def test_they_are_those_of_the_folder(copied, form):
    url = f"file://{copied}" if form == "file" else form
    here, there = load(copied), load(url)
    assert list(runs_of(there)) == list(runs_of(here)) == ["closed", "live"]
    for name, run in runs_of(here).items():
        other = runs_of(there)[name]
        assert other.drop_attrs().identical(run.drop_attrs())
        assert other.attrs["sha256"] == run.attrs["sha256"]
    assert [item.faults for item in unusable(there)] == [
        ("is damaged: its bytes do not fit its checksum",)
    ]
    assert catalog(url).headings.keys() == runs_of(here).keys()


@pytest.mark.filterwarnings("ignore:not used")
def test_a_store_that_cannot_be_used_leaves_the_other_paths(copied):
    paths = ["memory://bucket/runs/closed", "gs://bucket/runs", "memory://bucket/none"]
    found = load(paths)
    assert list(found.children) == ["closed"]
    assert [(item.source, *item.faults) for item in unusable(found)] == [
        ("gs://bucket/runs", "the library of gs:// is not installed; pip install 'gcsfs'"),
        ("memory://bucket/none", "no recording in the store under this name"),
    ]
    with pytest.raises(RecordError, match="no recording in the store"):
        load("memory://bucket/none")
