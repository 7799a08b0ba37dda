"""The recordings that are shipped: readable, unchanged, and what the page about them says."""

import hashlib
import importlib.util
from pathlib import Path

import pytest

from ultraslow import analysis
from ultraslow.analysis.scores.ladder import ladders

DATA = Path(__file__).parents[1] / "data"
RECORDINGS = sorted(DATA.glob("*/*.nc"))


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_the_page_has_the_checksum_of_each(path):
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert f"`{path.stem}`" in (DATA / "README.md").read_text()
    assert digest in (DATA / "README.md").read_text()


@pytest.fixture(scope="module")
def findings():
    """The program that writes docs/findings.md."""
    where = DATA.parent / "docs" / "findings.py"
    spec = importlib.util.spec_from_file_location("findings", where)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_findings_are_those_of_the_recordings(findings):
    inputs = [{"sha256": hashlib.sha256(path.read_bytes()).hexdigest()} for path in RECORDINGS]
    assert findings.digest(inputs) in (DATA.parent / "docs" / "findings.md").read_text()


@pytest.mark.slow
def test_every_number_of_the_findings_comes_from_the_report(findings):
    written = (DATA.parent / "docs" / "findings.md").read_text()
    assert written == findings.page(findings.reported(), findings.reported(findings.LADDER))


def test_all_are_sound_and_small():
    runs = analysis.load(str(DATA))
    assert len(runs) == len(RECORDINGS) > 0
    for node in runs.values():
        run = node.to_dataset()
        assert run["iteration"].values[0] == 0
        held_out = run["held_out"].sel(metric="accuracy").dropna("iteration")
        assert held_out["iteration"].values[-1] == run["iteration"].values[-1]
    assert sum(path.stat().st_size for path in RECORDINGS) < 20e6


def test_each_run_of_the_study_has_scans_and_sketches():
    for node in analysis.load(str(DATA / "cifar10-small")).values():
        scans = node.to_dataset()["loss_difference"]
        assert scans.notnull().any(["ensemble", "radius", "direction"]).sum() == 3
        assert node.to_dataset()["sketch"].notnull().all()


def test_every_rung_of_the_ladder_has_two_seeds():
    runs = analysis.load(str(DATA / "limit-cifar10-small"))
    found = ladders({name: node.to_dataset() for name, node in runs.items()})
    assert [one.metric for one in found] == ["accuracy", "loss"]
    for rung in found[0].rungs:
        assert (rung.runs, rung.failed) == (2, 0)
        assert rung.place.number == 0 or rung.over_before.pooled
    assert len(found[0].rungs) == 9
