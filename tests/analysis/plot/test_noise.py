import numpy as np
import pytest

from ultraslow.analysis.noise import arm_scales
from ultraslow.analysis.plot import look
from ultraslow.analysis.plot.noise import noise_scale
from ultraslow.analysis.study import Study


def words(axes):
    return [text.get_text() for text in axes.texts]


def test_an_arm_shows_its_noise_scale_against_its_batch_size(study, axes):
    noise_scale(study, axes, arm="64")
    assert "M = 64" in words(axes)
    (own,) = [
        line
        for line in axes.lines
        if line.get_color() == look.hue(0, 2) and line.get_linestyle() == "-"
    ]
    # Simulated with B = 200 samples.
    assert np.median(own.get_ydata()) == pytest.approx(200, rel=0.3)
    (size,) = [line for line in axes.lines if line.get_linestyle() == "--"]
    assert set(size.get_ydata()) == {64}
    assert len(axes.collections) == 1
    grey = [line for line in axes.lines if line.get_color() == look.AXIS]
    assert len(grey) == 1


def test_all_batch_sizes_are_named(study, axes):
    noise_scale(study, axes)
    assert {"M = 64", "M = 256", "noise scale B, samples"} <= set(words(axes))


def test_against_the_batch_size_every_arm_has_its_interval(study, axes):
    noise_scale(study, axes, against="batch_size")
    scales = arm_scales(study.runs, level=0.95)
    marks = [line for line in axes.lines if line.get_linestyle() == "None"]
    assert sorted(line.get_ydata()[0] for line in marks) == pytest.approx(
        sorted(one.scale.interval.value for one in scales)
    )
    axes.clear()
    noise_scale(scales, axes, against="batch_size")
    assert "an update is mostly noise" in words(axes)
    assert "mostly gradient" in words(axes)


def test_runs_without_noise_leave_empty_axes(make, axes):
    missing = {name: None for name in ("gradient_sq", "noise_trace", "noise_updates")}
    study = Study({"a": make(last=100, **missing)})
    for options in ({}, {"arm": 64}, {"against": "batch_size"}):
        axes.clear()
        noise_scale(study, axes, **options)
        assert axes.get_xlim()[0] > 0


def test_what_it_is_set_against_is_named(study, axes):
    with pytest.raises(ValueError, match="^against: found 'loss'"):
        noise_scale(study, axes, against="loss")
