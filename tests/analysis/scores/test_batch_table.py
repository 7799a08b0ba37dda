import math

import pytest

from ultraslow.analysis.scores.batch_table import (
    TableError,
    critical_batches,
    read_batch_table,
    tabled_rates,
)


@pytest.fixture
def read(tmp_path):
    def of(text, **chosen):
        path = tmp_path / "t.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_batch_table(path, **chosen)

    return of


def steps(table, group=""):
    """Steps by batch size, of runs without a rate."""
    return {size: list(rates[0.0].values()) for size, rates in table.steps[group].items()}


LONG = "batch,steps\n64,1038\n256,334\n256,330\n1024,159\n"


@pytest.mark.parametrize(
    "text",
    [
        LONG,
        "\ufeff" + LONG.replace("\n", "\r\n"),
        LONG.replace(",", ";"),
        LONG.replace(",", "\t"),
        LONG.replace(",", "  "),
        "# published\n\n" + LONG.replace("batch", ' "Batch Size"').replace("64", ' "64" '),
    ],
)
def test_a_row_a_run_is_read_whatever_parts_the_cells(read, text):
    found = read(text)
    assert steps(found) == {64: [1038], 256: [334, 330], 1024: [159]}
    assert all(isinstance(size, int) for size in found.steps[""])


def test_heads_that_are_batch_sizes_are_read_across(read):
    found = read("model,target_loss,64,bs=256,B 1024\na,3.4,1038,334,159\nb,3.2,9000,,never\n")
    assert steps(found, "a") == {64: [1038], 256: [334], 1024: [159]}
    (never,) = steps(found, "b")[1024]
    assert list(steps(found, "b")) == [64, 1024] and math.isnan(never)
    assert found.targets == {"a": 3.4, "b": 3.2}
    assert found.in_words() == (
        "batch sizes from the heads of columns, steps from the cells; one answer each from model; "
        "loss that is reached from target_loss"
    )
    answers = critical_batches(found)
    assert answers["a"].target == 3.4 and answers["a"].size.value == pytest.approx(600, rel=0.02)
    assert answers["b"].reason.endswith("those that do are 64")


@pytest.mark.parametrize("word", ["", "NaN", "never", "inf", ">50000", "—"])
def test_a_target_that_was_not_reached_is_censored_and_named(read, word):
    found = read(f"batch,steps\n64,1038\n256,334\n1024,159\n4096,115\n16384,{word}\n")
    answer = critical_batches(found)[""]
    assert list(answer.steps) == [64, 256, 1024, 4096]
    assert "batch size 16384 left out: 1 run did not reach the target" in answer.notes


def test_columns_that_are_chosen_are_read(read):
    text = "batch,bs,its,lr,net\n1,64,1038,0.1,x\n2,256,334,0.2,x\n"
    with pytest.raises(TableError, match="found batch and bs for the batch size, expected one"):
        read(text)
    found = read(text, batch_size="bs", steps="its", by="net")
    assert found.steps == {"x": {64: {0.1: {"row 2": 1038}}, 256: {0.2: {"row 3": 334}}}}
    assert found.ignored == ("batch",)


def test_each_size_is_taken_at_its_fastest_rate_and_the_rates_are_answered_too(read):
    rows = [
        (size, rate, 100 * (1 + 600 / size) * (1 if k == 1 else 1.5))
        for size in (64, 256, 1024, 4096)
        for k, rate in enumerate(0.4 / (1 + 100 / size) * step for step in (0.5, 1, 2))
    ]
    text = "\n".join(f"{size},{rate},{count}" for size, rate, count in rows)
    answer = critical_batches(read("batch,lr,steps\n" + text))[""]
    assert answer.size.value == pytest.approx(600, rel=1e-3)
    assert answer.rates.noise_scale.value == pytest.approx(100, rel=1e-3)
    assert answer.rates.largest_rate == pytest.approx(0.4, rel=1e-3)


def test_seeds_that_all_sizes_share_are_the_sample(read):
    rows = [
        f"{size},{seed},{100 * (1 + 600 / size) * (1 + 0.01 * ((seed * 7 + size) % 5))}"
        for size in (64, 256, 1024)
        for seed in range(5)
    ]
    answer = critical_batches(read("batch,seed,steps\n" + "\n".join(rows)))[""]
    assert (answer.basis, answer.size.n) == ("seeds", 5)
    fewer = [row for row in rows if row.split(",")[1] != "4" or not row.startswith("64")]
    fewer = [row for row in fewer if row.split(",")[1] != "3" or not row.startswith("64")]
    answer = critical_batches(read("batch,seed,steps\n" + "\n".join(fewer)))[""]
    assert (answer.basis, answer.size.n) == ("runs", 13)


def test_best_rates_are_read_by_group_and_repeated_ones_together(read):
    found = read("batch,best lr,task\n64,0.1,a\n64,0.12,a\n256,0.2,a\n1024,,a\n64,0.3,b\n")
    assert found.rates == {"a": {64: [0.1, 0.12], 256: [0.2]}, "b": {64: [0.3]}}
    assert "there are 64, 256" in tabled_rates(found)["a"].reason


@pytest.mark.parametrize("mark", [";", "\t", "|"])
def test_commas_before_decimals_and_points_between_thousands_are_read(read, mark):
    text = "batch;steps;lr\n32;16.126,25;0,01\n1.024;1.532;0,5\n2.048;987,5;1\n".replace(";", mark)
    found = read(text)
    assert {
        size: {r: [*s.values()] for r, s in own.items()} for size, own in found.steps[""].items()
    } == {
        32: {0.01: [16126.25]},
        1024: {0.5: [1532]},
        2048: {1: [987.5]},
    }
    assert "16.126,25 in steps is 16126,25" in found.in_words()
    across = read(f"model{mark}32{mark}64\na{mark}16.126{mark}9.077,5\n")
    assert steps(across, "a") == {32: [16126], 64: [9077.5]}


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("32;16.126\n64;9.077\n", "row 2, column steps: found '16.126', expected 16126 or 16,126"),
        (
            "32;16,126\n64;9,077\n",
            "row 2, column steps: found '16,126', expected 16126 or 16.126, whi",
        ),
        ("32;1.133,5\n64;2,359\n128;9.07\n", "row 4, column steps: found '9.07', expected points"),
        ("32;16126,5\n64;9.5\n", "row 3, column steps: found '9.5', expected points between"),
    ],
)
def test_numbers_that_may_be_thousands_or_thousandths_are_refused(read, rows, words):
    with pytest.raises(TableError) as told:
        read(f"batch;steps\n{rows}")
    assert words in str(told.value)
    assert steps(read("batch;steps\n32;16126.5\n64;9.077\n")) == {32: [16126.5], 64: [9.077]}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "found no row, expected a table with a row of heads"),
        ("batch,steps\n", "found a row of heads only, expected rows of numbers"),
        (b"\x89HDF\xff\x00", "found bytes that are no text"),
        (
            "batch,steps\n64,9\n1.5,0\n",
            "row 3, column steps: found '0', expected a positive number",
        ),
        ("batch,steps\nmany,9\n", "row 2, column batch: found 'many', expected a positive batch"),
        ("batch,steps\n,9\n", "row 2, column batch: found '', expected a positive batch size"),
        ("batch,steps\n-64,9\n", "row 2, column batch: found '-64'"),
        (
            'batch,steps\n64,"1,600"\n',
            "column steps: found '1,600', expected 1600 or 1.600, which",
        ),
        (
            'batch,steps\n"1,024",1600\n',
            "row 2, column batch: found '1,024', expected 1024 or 1.024, whichever it is: numbers "
            "without commas between thousands",
        ),
        ("batch,steps\n64,9,3\n", "row 2: found 3 cells, expected 2 as in the row of heads"),
        ("batch,batch,steps\n", "row 1: found the head 'batch' twice, expected different ones"),
        (
            "size,number\n64,9\n",
            "found the columns size, number, expected batch size (--batch-size",
        ),
        ("batch,seed,steps\n64,1,9\n64,1,8\n", "found seed 1 at batch size 64 twice"),
        ("model,64,128\na,9,x\n", "row 2, column 128: found 'x', expected a positive number of"),
        (
            "batch,lr\n64,fast\n",
            "row 2, column lr: found 'fast', expected a positive learning rate",
        ),
    ],
)
def test_what_cannot_be_read_is_told_with_file_row_found_and_expected(read, text, words):
    with pytest.raises(TableError) as told:
        read(text)
    assert words in str(told.value) and "t.csv" in str(told.value)


def test_a_column_that_is_not_there_is_told(read):
    with pytest.raises(
        TableError, match=r"found the columns batch, steps, expected 'S' \(--steps"
    ):
        read(LONG, steps="S")


def test_rows_that_an_unread_column_tells_apart_are_not_taken_together(read):
    text = "batch,steps,width\n64,900,8\n256,300,8\n64,9000,32\n256,2000,32\n"
    with pytest.raises(
        TableError, match="row 4: found another row like it but for the column wid"
    ):
        read(text)
    assert set(read(text, by="width").steps) == {"8", "32"}
    as_seeds = read(text.replace("width", "seed"))
    assert as_seeds.steps[""][64] == {0.0: {"8": 900, "32": 9000}}
    # A remark that is another one in each row tells nothing apart.
    assert steps(read("batch,steps,note\n64,900,a\n64,910,b\n"))[64] == [900, 910]


def test_the_largest_sizes_that_never_arrive_speak_for_a_smaller_critical_size(read):
    rows = "".join(f"{m},{1000 * (1 + 512 / m):.2f}\n" for m in (32, 64, 128, 256, 512))
    (found,) = critical_batches(read(f"batch,steps\n{rows}1024,never\n2048,\n")).values()
    assert found.size.value == pytest.approx(512, rel=0.01)
    assert any("largest batch sizes (1024, 2048) never" in note for note in found.notes)
    (found,) = critical_batches(read(f"batch,steps\n16,never\n{rows}")).values()
    assert not any("never" in note for note in found.notes)
