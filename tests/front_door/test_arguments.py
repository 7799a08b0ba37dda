"""Arguments that make no sense are named, with what was found and what is expected."""

import re

import numpy as np
import pytest
import xarray as xr

import ultraslow as us
from ultraslow.diffusion.cli import main


@pytest.fixture
def tree(single):
    return xr.DataTree.from_dict({"a": single(np.arange(1.0, 40), np.arange(1, 40))})


@pytest.mark.parametrize("given", ["runs/", {"a": 1}, None, xr.Dataset()], ids=type)
@pytest.mark.parametrize("function", [us.test, us.compare_laws, us.report])
def test_what_is_no_tree_of_recordings_is_refused(function, given, tmp_path):
    more = [tmp_path / "page.html"] if function is us.report else []
    expected = f"runs: found {type(given).__name__}, expected a tree of recordings, as `load`"
    with pytest.raises(TypeError, match=re.escape(expected)):
        function(given, *more)


@pytest.mark.parametrize(
    ("function", "given", "words"),
    [
        (us.critical_batch, "runs/", "runs: found str, expected a tree of recordings"),
        (us.run_noise_scale, "runs/", "run: found str, expected one recording"),
        (us.load, 3, "paths: found int, expected a path, or several"),
        (us.load, None, "paths: found NoneType, expected a path, or several"),
        (
            lambda fit: us.growth_curve(fit, [1.0]),
            "x",
            "fit: found str, expected what `fit_",
        ),
        (us.fit_growth, "x", "distance: found str, expected xarray.DataArray"),
    ],
)
def test_what_is_of_another_kind_is_refused(function, given, words):
    with pytest.raises(TypeError, match=re.escape(words)):
        function(given)


@pytest.mark.parametrize("level", [95, 0.5, "0.9", float("nan")])
def test_a_level_that_makes_no_sense_is_refused(tree, level, tmp_path):
    run = tree["a"].to_dataset()
    words = re.escape(f"level: found {level!r}, expected a number from 0.8 to 0.99")
    for ask in (
        lambda: us.test(tree, level=level),
        lambda: us.report(tree, tmp_path / "page.html", level=level),
        lambda: us.fit_growth(run["distance_sq"].sum("tensor") ** 0.5, level=level),
        lambda: us.run_noise_scale(run, level=level),
        lambda: us.critical_batch(tree, level=level),
        lambda: us.compare_laws(tree, level=level),
    ):
        with pytest.raises(ValueError, match=words):
            ask()


def test_a_page_that_cannot_be_written_is_told_before_anything_is_fitted(tree, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"path: the folder .*nowhere does not exist"):
        us.report(tree, tmp_path / "nowhere" / "page.html")
    with pytest.raises(IsADirectoryError, match="path: found the folder .*, expected a page"):
        us.report(tree, tmp_path)


def test_a_target_that_is_no_number_is_refused(tree):
    with pytest.raises(TypeError, match="target: found str, expected a training loss"):
        us.critical_batch(tree, target="low")


@pytest.mark.parametrize("command", ["train", "sweep"])
def test_settings_that_are_not_there_are_told_by_their_path(command, tmp_path, capsys):
    path = tmp_path / "nofile.toml"
    words = ["train", "--config", str(path)] if command == "train" else ["sweep", str(path)]
    assert main(words) == 2
    told = capsys.readouterr().err
    assert str(path) in told and "Errno" not in told
