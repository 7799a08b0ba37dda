import json
from collections import Counter

import pytest

from ultraslow.analysis.noise.breakdown import noisy_arms
from ultraslow.analysis.runs.arms import one_per_seed
from ultraslow.analysis.runs.names import arm_names


def runs(*made):
    return {str(run["run"].values): run for run in made}


@pytest.fixture
def study(make):
    """Four rules and settings at one batch size, one alone at another."""
    return runs(
        make(run="a0", batch_size=256, seed=0, scaling="sqrt", rate=0.1, weight_decay=0.0),
        make(run="a1", batch_size=256, seed=1, scaling="sqrt", rate=0.1, weight_decay=0.0),
        make(run="b0", batch_size=256, seed=0, scaling="linear", rate=0.2, weight_decay=0.0),
        make(run="c0", batch_size=256, seed=0, scaling="sqrt", rate=0.1, weight_decay=5e-4),
        make(run="d0", batch_size=64, seed=0, scaling="sqrt", rate=0.05, weight_decay=0.0),
    )


def test_an_arm_is_named_by_what_tells_it_from_others_of_its_batch_size(study):
    assert arm_names(study) == {
        "a0": "sqrt",
        "a1": "sqrt",
        "b0": "linear",
        "c0": "sqrt, weight decay 0.0005",
        "d0": "",
    }


def test_rates_are_named_where_a_rule_has_several(make):
    found = arm_names(runs(make(run="a", rate=0.1), make(run="b", rate=0.2)))
    assert found == {"a": "rate 0.1", "b": "rate 0.2"}


def test_what_all_arms_share_is_no_part_of_a_name(make):
    adam = make(run="b", optimizer="adamw", weight_decay=0.1, model="vit")
    found = arm_names(runs(make(run="a", optimizer="sgd", weight_decay=0.0), adam))
    assert found == {"a": "resnet8, SGD", "b": "vit, AdamW, weight decay 0.1"}


def test_rungs_are_named_by_their_names_and_equal_names_numbered(make):
    def rung(name, number, word):
        told = {"ladder": "limit", "rung": number, "rung_name": word}
        return make(run=name).assign_attrs(config=json.dumps(told))

    made = runs(rung("a", 0, "baseline"), rung("b", 1, "lars"), rung("c", 2, "lars"))
    assert arm_names(made) == {"a": "baseline", "b": "lars", "c": "lars (2)"}
    assert list(one_per_seed(made)) == ["a", "b", "c"]  # of one seed, and no copies


def test_added_noise_and_settings_are_named_where_they_differ(make):
    heated = make(run="b").assign_attrs(config='{"gradient_noise": 0.1}')
    found = arm_names(runs(make(run="a"), heated, make(run="c", ghost_size=32)))
    assert found == {
        "a": "sqrt",
        "b": "sqrt, added noise 0.1",
        "c": "sqrt, ghost batches of 32",
    }


def test_arms_that_words_do_not_tell_apart_are_numbered(make):
    found = arm_names(runs(make(run="a"), make(run="b", tensor_size=[600, 300, 20])))
    assert found == {"a": "sqrt", "b": "sqrt (2)"}


def test_a_rung_without_a_name_has_a_number_and_tells_nothing_of_plain_runs(make):
    config = '{"rung": 1, "ladder": "limit"}'
    rung = make(run="b", rate=0.7, weight_decay=0.1).assign_attrs(config=config)
    found = arm_names(runs(make(run="a", weight_decay=0.2), rung))
    assert found == {"a": "sqrt", "b": "rung 1"}


def test_runs_of_another_setting_are_no_copies(study):
    assert list(one_per_seed(study)) == list(study)
    again = {**study, "copy": study["c0"]}
    assert list(one_per_seed(again)) == list(study)


def test_the_main_arm_of_a_batch_size_has_most_seeds(study):
    def names(runs):
        return {size: [str(run["run"].values) for run in own] for size, own in runs.items()}

    assert names(noisy_arms(study)) == {64: ["d0"], 256: ["a0", "a1"]}
    assert names(noisy_arms({name: study[name] for name in ("b0", "c0")})) == {256: ["b0"]}
    copies = {f"copy{k}": study["b0"] for k in range(3)}
    assert names(noisy_arms(copies | study)) == {64: ["d0"], 256: ["a0", "a1"]}


def test_names_of_many_runs_take_time_in_proportion(make):
    """Each run is looked at a few times, however many others there are."""
    looked = Counter()

    class Watched(dict):
        def __getitem__(self, name):
            looked[name] += 1
            return super().__getitem__(name)

    one = make(run="a")
    many = Watched({f"r{k}": one.assign_coords(seed=k) for k in range(60)})
    assert set(arm_names(many).values()) == {""}
    assert max(looked.values()) <= 3
