import numpy as np
import pytest

from ultraslow.analysis.plot.outcomes import generalization, loss
from ultraslow.analysis.study import Study


def words(axes):
    return [text.get_text() for text in axes.texts]


def test_arms_of_one_batch_size_are_told_apart(study, axes):
    loss(study, axes)
    assert {"M = 64", "M = 256, η ∝ √M", "M = 256, η fixed"} <= set(words(axes))
    styles = [
        (line.get_color(), str(line.get_linestyle()))
        for line in axes.lines
        if line.get_marker() == "None"
    ]
    assert len(set(styles)) == 3
    axes.clear()
    loss(study, axes, rules=False)
    assert "M = 256, η fixed" not in words(axes)


def test_a_loss_below_0_is_drawn_on_a_linear_axis(make, axes):
    run = make(last=100)
    loss(Study({"a": run.assign(loss=run["loss"] - 2)}), axes)
    assert axes.get_yscale() == "linear"


def test_runs_without_a_loss_leave_empty_axes(make, axes):
    loss(Study({"a": make(last=100, loss=None)}), axes)
    assert not axes.lines


def test_every_run_is_a_mark_at_its_score(train, axes):
    rng = np.random.default_rng(0)
    runs = {f"r{k}": train(seed=k, rng=rng, batch_size=64 * 4 ** (k % 2)) for k in range(6)}
    study = Study(runs)
    generalization(study, axes)
    scores = np.sort(np.concatenate([line.get_ydata() for line in axes.lines]))
    wanted = sorted(float(run["held_out"].values[-1, 0]) for run in runs.values())
    assert scores == pytest.approx(wanted)
    assert {"M = 64", "M = 256", "held-out accuracy"} <= set(words(axes))
    assert any(label.get_text().endswith(" %") for label in axes.get_yticklabels())


def test_scores_of_other_data_are_not_beside_them(train, axes):
    rng = np.random.default_rng(0)
    runs = {f"r{k}": train(seed=k, rng=rng) for k in range(3)}
    runs["other"] = train(seed=0, rng=rng, data="other")
    generalization(Study(runs), axes)
    assert sum(len(line.get_ydata()) for line in axes.lines) == 3


def test_runs_that_were_not_evaluated_leave_empty_axes(study, axes):
    generalization(study, axes)
    assert not axes.lines
