"""Pictures against those that were looked at and found good; `STORE_IMAGES=1` stores them anew."""

import os
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from ultraslow.analysis import plot
from ultraslow.analysis.plot import look

IMAGES = Path(__file__).parent / "images"
# Root mean square of the difference, of 1. Letters of another release of the fonts differ by about
# 0.03; a curve that is missing, or a label at another place, by 0.06 and more.
TOLERANCE = 0.045
DRAWN = {
    "hero": ((660, 400), lambda study, axes: plot.hero(study, axes)),
    "panel": ((300, 300), lambda study, axes: plot.panel(study, axes, arm=64)),
    "collapse": ((300, 260), lambda study, axes: plot.collapse(study, axes, clock="samples")),
    "exponents": ((900, 190), lambda study, axes: plot.exponents(study, axes)),
    "noise": ((400, 300), lambda study, axes: plot.noise_scale(study, axes, against="batch_size")),
}


def picture(study, name, path):
    (wide, high), draw = DRAWN[name]
    figure = Figure(figsize=(wide / 96, high / 96), dpi=64, layout="constrained")
    figure.set_facecolor(look.PAPER)
    draw(study, figure.add_subplot())
    figure.savefig(path, dpi=64, metadata={"Software": None})
    return imread(path)[..., :3]


@pytest.mark.parametrize("name", DRAWN)
def test_pictures_are_those_that_were_looked_at(study, tmp_path, name):
    stored = IMAGES / f"{name}.png"
    if os.environ.get("STORE_IMAGES"):
        picture(study, name, stored)
    found, wanted = picture(study, name, tmp_path / f"{name}.png"), imread(stored)[..., :3]
    assert found.shape == wanted.shape
    off = float(np.sqrt(np.mean((found - wanted) ** 2)))
    assert off < TOLERANCE, f"{name}: {off:.3f} off; see {tmp_path / name}.png"


def test_a_missing_curve_is_seen(study, tmp_path):
    found = picture(
        study.where(lambda run: int(run["batch_size"]) == 64), "hero", tmp_path / "a.png"
    )
    wanted = imread(IMAGES / "hero.png")[..., :3]
    assert float(np.sqrt(np.mean((found - wanted) ** 2))) > TOLERANCE
