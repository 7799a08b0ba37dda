"""Conditions on recordings: known answers, and Python's own reading of the same text."""

import pytest
from hypothesis import given, strategies as st

from ultraslow.analysis.runs import NAMES, ConditionError, condition
from ultraslow.analysis.runs.load import load
from ultraslow.analysis.runs.where import value_of

RUN = {
    "run": "sqrt-b64-s0",
    "batch_size": 64,
    "seed": 0,
    "scaling": "sqrt",
    "learning_rate": 0.05,
    "weight_decay": 0.0005,
    "optimizer": None,
    "diverged": False,
}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("batch_size == 64", True),
        ("batch_size>=1024 and scaling=='sqrt'", False),
        ("batch_size >= 1024 or scaling == 'sqrt'", True),
        ("not (seed > 0)", True),
        ("32 < batch_size <= 64", True),
        ("32 < batch_size < 64", False),
        ("64 == batch_size", True),
        ("seed in (0, 1)", True),
        ("seed not in [0, 1]", False),
        ("scaling in {'fixed', 'linear'}", False),
        ("'b64' in run and 's1' not in run", True),
        ("weight_decay > -1 and weight_decay < 1e-3", True),
        ("optimizer == None", True),
        ("optimizer is None", True),
        ("optimizer is not None", False),
        ("optimizer != 'sgd'", True),
        ("optimizer < 'z'", False),
        ("'s' in optimizer", False),
        ("diverged", False),
        ("not diverged and learning_rate == 0.05", True),
        ("diverged == False", True),
        ("seed == 0.0 ", True),
        ("scaling == 'sq' 'rt'", True),
    ],
)
def test_a_condition_holds_or_fails(text, holds):
    assert condition(text).met_by(RUN) is holds


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("batch_sise > 3", "no name batch_sise (batch_size?)"),
        ("qqqqqqq > 3", "no name qqqqqqq; there are: run, batch_size"),
        ("seed == '1'", "seed and '1', a number and a text: one is never the other"),
        ("scaling < 3", "scaling and 3, a text and a number"),
        ("diverged < 'a'", "diverged and 'a', a truth and a text"),
        ("seed in (0, '1')", "a number and a text"),
        ("seed", "found seed alone, expected seed == …"),
        ("3", "found '3', expected names, numbers and quoted texts"),
        ("'a'", "expected names, numbers and quoted texts"),
        ("seed = 1", "expected '==' in place of '='"),
        ("seed == 1 && batch_size == 3", "expected 'and' in place of '&&'"),
        ("seed == 1 || batch_size == 3", "expected 'or' in place of '||'"),
        ("", "expected a condition"),
        ("(", "expected a condition"),
        ("seed ==", "expected a condition"),
        ("seed in 3", "found in 3, expected values in brackets"),
        ("seed == 1; import os", "expected a condition"),
        ("seed == b'1'", "expected names, numbers"),
        ("seed == 1j", "expected names, numbers"),
        ("seed == ...", "expected names, numbers"),
        ("seed == \x00", "where: found"),
        ("seed == 1" + " " * 1000, "found 1009 characters, expected at most 1000"),
        ("not " * 240 + "diverged and seed == '1'", "a number and a text"),
        ("(" * 900 + "seed == 1" + ")" * 90, "where: found"),
    ],
)
def test_what_is_no_condition_is_refused_with_what_is_meant(text, told):
    with pytest.raises(ConditionError, match=r"^where: ") as refused:
        condition(text)
    assert told in str(refused.value) and len(str(refused.value)) < 500


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('touch /tmp/x')",
        "run.__class__ == 'a'",
        "run[0] == 's'",
        "seed + 1 == 1",
        "seed == 9 ** 9 ** 9",
        "(lambda: seed)() == 0",
        "[one for one in run] == 's'",
        "seed if seed else seed",
        "(seed := 3) == 3",
        "f'{run}' == 'a'",
        "run == __name__",
        "batch_size == seed == print('x')",
        "seed in range(10)",
        "seed in (*run,)",
        "seed == ~1",
    ],
)
def test_nothing_is_called_and_nothing_is_looked_into(text):
    with pytest.raises(ConditionError):
        condition(text)


NUMBERS = st.one_of(st.integers(-3, 3), st.sampled_from([0.5, -1.5, 2.0]))
TEXTS = st.text("ab'\"\\é ", max_size=3)
NUMBER_NAMES, TEXT_NAMES = ("batch_size", "seed", "learning_rate"), ("run", "scaling")


def compared(names, constants):
    values = st.one_of(st.sampled_from(names), constants.map(repr))
    signs = st.sampled_from(["<", "<=", "==", "!=", ">=", ">"])
    chain = st.lists(st.tuples(signs, values), min_size=1, max_size=3)
    rows = st.lists(values, min_size=1, max_size=3).map(lambda row: f"({', '.join(row)},)")
    return st.one_of(
        st.tuples(values, chain).map(
            lambda pair: f"{pair[0]} {' '.join(f'{sign} {value}' for sign, value in pair[1])}"
        ),
        st.tuples(values, st.sampled_from(["in", "not in"]), rows).map(" ".join),
    )


ATOMS = st.one_of(
    compared(NUMBER_NAMES, NUMBERS),
    compared(TEXT_NAMES, TEXTS),
    st.tuples(TEXTS.map(repr), st.sampled_from(["in", "not in"]), st.sampled_from(TEXT_NAMES)).map(
        " ".join
    ),
    st.just("diverged"),
)
CONDITIONS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        inner.map("not {}".format),
        inner.map("({})".format),
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(" ".join),
    ),
    max_leaves=8,
)
RUNS = st.fixed_dictionaries(
    {name: NUMBERS for name in NUMBER_NAMES}
    | {name: TEXTS for name in TEXT_NAMES}
    | {"diverged": st.booleans()}
)


@given(CONDITIONS.filter(lambda text: len(text) < 1000), RUNS)
def test_a_condition_is_read_as_python_reads_it(text, values):
    truth = eval(text, {"__builtins__": {}}, dict(values))
    assert condition(text).met_by(values) is bool(truth)


@pytest.fixture
def folder(tmp_path, save):
    for batch_size in (64, 256):
        for seed in (0, 1):
            save(f"b{batch_size}-s{seed}", batch_size=batch_size, seed=seed, last=100)
    return tmp_path


def test_load_takes_the_recordings_that_meet_it(folder):
    found = load(folder, where="batch_size == 64 and seed == 1")
    assert set(found.children) == {"b64-s1"}
    assert (found.attrs["where"], found.attrs["left_out"]) == ("batch_size == 64 and seed == 1", 3)
    assert "where" not in load(folder, where=" ").attrs
    with pytest.raises(ConditionError, match="none of 4 recordings meets seed > 1; there seed is"):
        load(folder, where="seed > 1")
    with pytest.raises(ConditionError, match="no name sede"):
        load("nowhere", where="sede == 1")


def test_every_name_can_be_asked_of_a_recording(folder):
    run = load(folder / "b64-s0.nc").children["b64-s0"].to_dataset()
    values = {name: value_of(run, name) for name in NAMES}
    assert values["run"] == "b64-s0" and values["batch_size"] == 64 and values["ladder"] is None
    assert values["state"] == "closed" and values["path"].endswith("b64-s0.nc")
    assert values["iterations"] == run["iteration"].values[-1] and values["diverged"] is False
