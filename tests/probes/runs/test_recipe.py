"""Each recipe of the package, run for real at a tiny scale."""

import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from ultraslow.probes.runs.config import Config, ConfigError, checked
from ultraslow.probes.runs.jobs.sweep import Sweep
from ultraslow.probes.runs.models.names import architecture
from ultraslow.probes.runs.models.resnet import ResNet
from ultraslow.probes.runs.recipe import find, planned, read_recipe, scaled, shipped, study

STUDY = """
about = "a study"
[settings]
width = 2
iterations = 6
[[arms]]
arm = "sqrt"
batch_size = [160, 320]
seed = [0, 1]
[[arms]]
arm = "with decay"
weight_decay = 1e-4
seed = [3]
"""


@pytest.fixture
def file(tmp_path):
    def written(text):
        path = tmp_path / "study.toml"
        path.write_text(text)
        return path

    return written


def test_runs_are_the_grids_of_the_arms_ordered_by_seed(file):
    recipe = read_recipe(file(STUDY))
    names = [config.run for config in recipe.runs]
    assert names == [
        "sqrt-b160-s0",
        "sqrt-b320-s0",
        "with-decay-s3",
        "sqrt-b160-s1",
        "sqrt-b320-s1",
    ]
    assert recipe.runs[1] == Config(
        width=2, iterations=6, batch_size=320, seed=0, name="sqrt-b320-s0"
    )
    assert recipe.runs[2].weight_decay == 1e-4


def test_a_recipe_may_have_arms_and_a_ladder(file):
    text = STUDY + '[[rungs]]\nrung = "foot"\nclip = 1.0\n[[rungs]]\nrung = "top"\n'
    recipe = read_recipe(file('images_sha256 = "ab"\n' + text))
    assert [config.run for config in recipe.runs[:2]] == ["sqrt-b160-s0", "sqrt-b320-s0"]
    assert {"00-foot", "01-top"} < {config.run for config in recipe.runs}
    assert recipe.study["01-top"]["rung"] == 1 and "arm" not in recipe.study["01-top"]
    assert [c.clip for c in recipe.runs if c.run in ("00-foot", "01-top")] == [1.0, 1.0]
    assert recipe.study["sqrt-b160-s0"]["recipe_images_sha256"] == "ab"


def test_a_recording_will_tell_its_recipe(file):
    path = file(STUDY)
    study = read_recipe(path, scale=0.5).study["with-decay-s3"]
    assert study == {
        "recipe": "study",
        "recipe_text": path.read_text(),
        "scale": 0.5,
        "arm": "with decay",
    }


def test_a_rung_adds_to_those_below(file):
    text = """
[settings]
seed = [0, 1]
[[rungs]]
rung = "baseline"
base_learning_rate = 0.1
[[rungs]]
rung = "clipping"
clip = 5.0
[[rungs]]
rung = "tuned rate"
base_learning_rate = 0.2
"""
    recipe = read_recipe(file(text))
    first, second, third, again, *_ = recipe.runs
    assert (first.clip, second.clip, third.clip) == (0.0, 5.0, 5.0)
    assert (second.base_learning_rate, third.base_learning_rate) == (0.1, 0.2)
    assert third.run == "02-tuned-rate-s0"
    assert again.run == "00-baseline-s1"
    place = {key: recipe.study[third.run][key] for key in ("ladder", "rung", "rung_name")}
    assert place == {"ladder": "study", "rung": 2, "rung_name": "tuned rate"}


def test_further_seeds_follow_those_of_the_recipe_and_come_last(file):
    text = '[[arms]]\narm = "a"\nseed = [3, 1]\n[[arms]]\narm = "b"\nseed = [0]\n'
    recipe = read_recipe(file(text), seeds=4)
    assert [run.run for run in recipe.runs] == [
        *("a-s3", "b-s0", "a-s1", "b-s1"),
        *("a-s4", "b-s2", "a-s5", "b-s3"),
    ]
    assert [run.run for run in read_recipe(file(text), seeds=1).runs] == ["a-s3", "b-s0"]


def test_shorter_runs_are_lengthened_after_they_are_scaled(file):
    text = '[settings]\niterations = 400\n[[arms]]\narm = "a"\n[[arms]]\narm = "b"\nepochs = 9.0\n'
    plan = planned(read_recipe(file(text)), "study", processes=2, scale=0.5, least_iterations=150)
    assert [(run.run, run.iterations, run.epochs) for run in plan.runs] == [
        ("a", 200, 0.0),
        ("b", 150, 0.0),
    ]


def test_settings_of_the_command_go_before_those_of_the_file(file):
    overrides = {"width": 3, "folder": "elsewhere"}
    assert {(c.width, c.folder) for c in read_recipe(file(STUDY), overrides=overrides).runs} == {
        (3, "elsewhere")
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[arms]", "not a TOML file"),
        ("", "arms: found none, expected tables [[arms]], tables [[rungs]], or both"),
        ('images_sha256 = 5\n[[arms]]\narm="a"', "images_sha256: found 5, expected a digest"),
        ('seeds = 3\n[[arms]]\narm="a"', "seeds: unknown key, expected one of about, settings"),
        ('settings = 3\n[[arms]]\narm="a"', "settings: found 3, expected a table"),
        ('[settings]\nbatchsize = 3\n[[arms]]\narm="a"', "settings: batchsize: unknown key, exp"),
        ("[[arms]]\nseed = 1", "arms 1: arm: found None, expected its name"),
        ('arms = "a"', "arms: found 'a', expected tables [[arms]]"),
        ('[[arms]]\narm="a"\nfolder = "x"', "arms 1: folder: found it, expected it on the comm"),
        ('[[arms]]\narm="a"\nseed = []', "arms 1: seed: found an empty list, expected values"),
        ('[[arms]]\narm="a"\nseed = ["x"]', "a: seed: found 'x', expected a value of type int"),
        ('[[arms]]\narm="a"\n[[arms]]\narm="a"', "a: found two runs named a, expected names"),
    ],
)
def test_faults_of_a_file_name_file_key_and_what_was_expected(file, text, message):
    path = file(text)
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        read_recipe(path)
    assert str(caught.value).startswith(str(path))


def test_what_cannot_be_trained_is_found_before_anything_starts(file):
    path = file(STUDY.replace("[160, 320]", "[160, 2000, 81]"))
    with pytest.raises(ConfigError) as caught:
        planned(read_recipe(path), str(path), processes=2)
    text = str(caught.value)
    assert text.startswith(str(path))
    assert "sqrt-b2000-s0: batch_size: found 2000, expected at most the 1440 training" in text
    assert "sqrt-b81-s1: batch_size: found 81, expected a multiple of the 2 processes" in text


def test_a_missing_folder_of_images_is_told_for_the_run(file, tmp_path):
    path = file(f'[[arms]]\narm="a"\ndata="folder"\ndata_folder="{tmp_path}/none"')
    with pytest.raises(ConfigError, match="a: data_folder: found no folder .*none, expected"):
        planned(read_recipe(path), str(path), processes=2)


def test_plans_are_scaled_and_counted_in_iterations(file):
    text = STUDY.replace("iterations = 6", "epochs = 4")
    recipe = planned(read_recipe(file(text)), "study", processes=2, scale=0.5)
    assert [config.batch_size for config in recipe.runs] == [80, 160, 80, 80, 160]
    # 4 epochs of 1440/160 updates at full size, half as many here.
    assert recipe.runs[0].iterations == 18


def test_recipes_are_found_by_name_or_path(file):
    assert find("cifar10-small") == shipped()["cifar10-small"]
    path = file(STUDY)
    assert find(str(path)) == path
    with pytest.raises(FileNotFoundError, match="found no file nowhere, expected one or a recipe"):
        find("nowhere")


def test_every_shipped_recipe_says_what_it_is_about():
    for name, path in shipped().items():
        assert 'about = "' in path.read_text(), name
        assert read_recipe(path).runs, name


def test_recipes_that_scan_the_landscape_scan_enough_for_barriers():
    """Four pairs of checkpoints beside the first, which has w0 before it."""
    for name, path in shipped().items():
        scans = {run.landscape_checkpoints for run in read_recipe(path).runs} - {0}
        assert scans <= {2 if name == "demo" else 6}, name


def test_hoffers_network_has_as_many_weights_as_theirs():
    """661,338, which their released code counts for ResNet-44."""
    runs = read_recipe(find("hoffer2017-cifar10")).runs
    shapes = {(run.model, run.width, run.shortcut) for run in runs}
    for model, width, shortcut in shapes:
        network = ResNet(
            architecture(model, width=width, shortcut=shortcut), channels=3, classes=10
        )
        assert sum(p.numel() for p in network.parameters()) == 661_338


@pytest.mark.parametrize("kind", ["arms", "rungs"])
def test_a_recipe_has_runs(file, kind):
    with pytest.raises(ConfigError, match=f"{kind}: found none, expected one or more tables"):
        read_recipe(file(f"{kind} = []"))


FULL = Config(
    batch_size=4096,
    microbatch=128,
    ghost_size=32,
    base_batch_size=64,
    samples=50_000,
    iterations=1000,
    warm_up=100,
    epochs=8.0,
    width=16,
)


def small(config, scale, processes=2):
    return scaled(config, scale, available=50_000, processes=processes)


def test_nothing_changes_at_full_size():
    assert small(FULL, 1.0) is FULL


def test_a_power_of_two_divides_everything():
    quarter = small(FULL, 0.25)
    assert quarter == replace(
        FULL,
        batch_size=1024,
        microbatch=32,
        ghost_size=8,
        base_batch_size=16,
        samples=12_500,
        iterations=250,
        warm_up=25,
        epochs=2.0,
        width=8,
        landscape_images=64,
    )
    assert quarter.peak_rate(50_000) == FULL.peak_rate(50_000)


def test_the_full_batch_stays_the_full_batch():
    for scale in (0.5, 0.1, 0.037, 0.0004):
        full = small(replace(FULL, batch_size=50_000, microbatch=250, ghost_size=0), scale)
        assert full.batch_size == full.samples, scale


@pytest.mark.parametrize("processes", [1, 2])
def test_every_scale_of_every_shipped_run_divides_over_processes_and_microbatches(processes):
    for name in shipped():
        for config in read_recipe(find(name)).runs:
            for scale in (0.9, 0.31, 0.1, 0.013, 0.0021):
                known = config.train_size(50_000)
                tiny = scaled(config, scale, available=known, processes=processes)
                assert tiny.batch_size <= tiny.samples, (name, config.run, scale)
                digits = replace(
                    tiny, data="digits", data_folder="", samples=0, image_size=0, resize=0
                )
                if tiny.batch_size <= 1440 and tiny.samples > tiny.batch_size:
                    checked(digits, processes)  # raises where something does not divide


def test_other_networks_keep_their_size():
    assert small(replace(FULL, model="wrn16-4", width=0), 0.1).width == 0


@pytest.mark.parametrize("scale", [0.0, -1.0, 1.5, float("nan")])
def test_scales_out_of_range_are_refused(scale):
    with pytest.raises(ValueError, match="scale: found .*, expected a number above 0 and at most"):
        small(FULL, scale)


def test_the_demo_has_seeds_enough_for_verdicts_in_every_arm():
    arms = Counter((c.batch_size, c.scaling, c.peak_rate(1440)) for c in study("demo").runs)
    assert len(arms) == 4 and min(arms.values()) >= 4


def test_every_run_of_the_demo_tells_its_noise_from_two_passes():
    assert {c.batch_size // c.microbatch for c in study("demo").runs} == {2}


def test_the_rates_of_the_demo_follow_their_rules():
    rates = {(c.scaling, c.batch_size): c.peak_rate(1440) for c in study("demo").runs}
    assert rates["sqrt", 128] == pytest.approx(2 * rates["sqrt", 32])
    assert rates["linear", 64] == pytest.approx(2 * rates["linear", 32])


@pytest.mark.parametrize("quick", [True, False])
def test_every_run_can_be_trained_on_one_process_or_two(quick):
    for config in study("demo", quick=quick).runs:
        assert checked(config, 1) == config
        assert checked(config, 2) == config


def test_quick_runs_have_the_same_names():
    quick = {config.run for config in study("demo", quick=True).runs}
    assert quick < {config.run for config in study("demo").runs}


# What is left of each recipe's batches and images: hundreds at most.
SCALES = {"limit-imagenet": 1e-4, "demo": 0.02, "temperature": 0.02}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder of noise in ten classes of 32² pixels."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for part, count in (("train", 13), ("test", 2)):
        for label in range(10):
            home = folder / part / f"class{label}"
            home.mkdir(parents=True)
            for index in range(count):
                pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(home / f"{index}.png")
    return str(folder)


@pytest.mark.slow
def test_first_and_last_run_of_every_recipe(images, tmp_path):
    chosen = []
    for name in shipped():
        scale = SCALES.get(name, 0.002)
        digits = read_recipe(find(name)).runs[0].data == "digits"
        # The folder has just the images that are left of 50,000.
        made = {"data": "folder", "data_folder": images, "samples": 50_000}
        overrides = {} if digits else made
        overrides |= (
            {"image_size": 64, "workers": 1, "samples": 1_280_000}
            if name == "limit-imagenet"
            else {}
        )
        places = {"folder": str(tmp_path / name), "processes": 2, "device": "cpu"}
        recipe = read_recipe(find(name), overrides={**overrides, **places}, scale=scale)
        runs = planned(recipe, name, processes=2, scale=scale).runs
        # The landscape takes many passes, and is measured in other tests.
        little = {"evaluations": 1, "landscape_checkpoints": 0}
        ends = (runs[0], runs[-1])
        chosen += [replace(run, name=f"{name}-{run.run}", **little) for run in ends]
    outcomes = Sweep(chosen, 2).train(lambda event: None)
    assert [(o.run, o.status, o.reason) for o in outcomes] == [
        (config.run, "trained", "") for config in chosen
    ]
