import json

import numpy as np
import pytest
import xarray as xr

from ultraslow.diffusion.recording.contract import check
from ultraslow.diffusion.walks import recordings
from ultraslow.diffusion.walks.simulators import (
    DriftingWalk,
    FieldWalk,
    LawCurve,
    NoisyQuadratic,
    ScaleInvariant,
    Setup,
)

ARM = Setup(batch_size=128, seed=3)


def column(packed, name):
    return np.asarray(packed["data_vars"][name]["data"])


@pytest.mark.parametrize("kind", recordings.KINDS)
def test_every_kind_packs_a_sound_recording_with_its_truth(kind, tmp_path):
    packed = recordings.recording(recordings.simulator(kind), ARM, 60)
    xr.Dataset.from_dict(packed).to_netcdf(tmp_path / "run.nc")
    with xr.open_dataset(tmp_path / "run.nc") as read:
        check(read)
        np.testing.assert_array_equal(read["distance_sq"], column(packed, "distance_sq"))
    truth = json.loads(packed["attrs"]["truth"])
    assert truth["seed"] == 3
    assert truth["learning_rate"] == pytest.approx(0.05 * 2**0.5)
    d, w, o = (column(packed, name) for name in ("distance_sq", "weight_sq", "overlap"))
    np.testing.assert_allclose(d, w - 2 * o + w[0], atol=1e-9 * w.max())
    assert d[0] == 0.0
    assert d[-1] > 0.0


@pytest.mark.parametrize("kind", recordings.KINDS)
def test_a_seed_determines_the_run(kind):
    one, two = (recordings.recording(recordings.simulator(kind), ARM, 30) for _ in range(2))
    np.testing.assert_array_equal(column(one, "distance_sq"), column(two, "distance_sq"))


def test_sets_hold_every_batch_size_and_seed():
    runs = recordings.simulated_recordings(
        LawCurve(noise=0.0, batch_exponent=0.5), batch_sizes=[32, 128], seeds=[0, 1], iterations=50
    )
    assert len(runs) == 4
    small, large = (column(runs[f"LawCurve-sqrt-b{m}-s0"], "distance_sq") for m in (32, 128))
    np.testing.assert_allclose(large, 4.0 * small)


def test_coordinates_hold_what_the_simulator_has_and_nothing_else():
    found = {
        kind: recordings.recording(one, ARM, 10)["coords"]
        for kind, one in recordings.KINDS.items()
    }
    with_momentum = {kind for kind, coords in found.items() if "momentum" in coords}
    with_decay = {kind for kind, coords in found.items() if "weight_decay" in coords}
    descents = {kind for kind, coords in found.items() if "optimizer" in coords}
    assert with_momentum == {"quadratic"}
    assert with_decay == {"scale-invariant"}
    assert descents == set(recordings.KINDS) - {"line", "law"}
    heavy = recordings.recording(NoisyQuadratic(momentum=0.9), ARM, 10)["coords"]
    assert heavy["momentum"]["data"] == 0.9
    decaying = recordings.recording(ScaleInvariant(weight_decay=0.01), ARM, 10)["coords"]
    assert decaying["weight_decay"]["data"] == 0.01


def test_noise_estimates_scatter_about_the_truth():
    walk = DriftingWalk(dimension=50, gradient_sq=4.0, noise_trace=64.0)
    packed = [recordings.recording(walk, Setup(batch_size=32, seed=s), 40) for s in range(60)]
    for name, truth in (("gradient_sq", 4.0), ("noise_trace", 64.0)):
        last = np.array([column(one, name)[-1, 0] for one in packed])
        assert last.mean() == pytest.approx(truth, abs=4 * last.std() / 60**0.5)
        assert np.isnan(column(packed[0], name)[0, 0])  # no update yet


def test_truth_holds_every_parameter_of_a_law():
    def truth(law, **parameters):
        packed = recordings.recording(LawCurve(law=law, parameters=parameters), ARM, 10)
        return json.loads(packed["attrs"]["truth"])["parameters"]

    assert truth("power", exponent=0.2) == {"scale": 0.3, "exponent": 0.2}
    assert len(truth("quadratic")["curvatures"]) == 30


def test_mean_squares_have_the_noise_of_batches_without_replacement():
    walk = DriftingWalk(dimension=50, gradient_sq=4.0, noise_trace=64.0)
    packed = recordings.recording(walk, Setup(batch_size=32, data_size=64), 40)
    g, s, mean = (column(packed, n)[1:] for n in ("gradient_sq", "noise_trace", "mean_sq"))
    np.testing.assert_allclose(mean, g + s / 64)  # (1 − M/D)/M


def test_settings_are_read_from_text():
    kind = recordings.simulator("law", {"parameters": '{"exponent": 0.3}', "noise": "0"})
    assert kind == LawCurve(parameters={"exponent": 0.3}, noise=0.0)
    assert recordings.simulator("quadratic", {"modes": "7"}) == NoisyQuadratic(modes=7)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: recordings.simulator("comet"), "kind: found 'comet', expected one of"),
        (
            lambda: recordings.simulator("field", {"colour": 1}),
            r"settings of field: found \['colour'",
        ),
        (
            lambda: recordings.simulator("field", {"modes": "many"}),
            "modes: found 'many', expected a value like 100",
        ),
        (lambda: recordings.recording(FieldWalk(alpha=3.0), ARM, 10), "alpha: found 3"),
        (
            lambda: recordings.simulated_recordings(
                FieldWalk(), batch_sizes=[], seeds=[0], iterations=9
            ),
            "batch_sizes, seeds: found",
        ),
        (lambda: recordings.recording(LawCurve(law="cubic"), ARM, 10), "law: found 'cubic'"),
        (lambda: recordings.recording(LawCurve(), ARM, 0), "iterations: found 0"),
        (
            lambda: recordings.recording(FieldWalk(temperature=-1.0), ARM, 10),
            "temperature: found -1",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
