import json

import numpy as np
import pytest

import ultraslow as us
from ultraslow.diffusion.recording import RecordError


def only(tree):
    (run,) = tree.children.values()
    return run.to_dataset()


def pairs_of(weights, pairs):
    rows = [f"{a},{b},{np.linalg.norm(weights[a] - weights[b])}" for a, b in pairs]
    return "it0,it1,distance\n" + "\n".join(rows) + "\n"


def test_all_pairs_give_all_displacements(write):
    weights = np.random.default_rng(0).standard_normal((6, 20)).cumsum(axis=0)
    pairs = [(a, 0) for a in range(1, 6)] + [(a, b) for b in range(1, 6) for a in range(b + 1, 6)]
    run = only(us.import_runs(write("walk.csv", pairs_of(weights, pairs))))
    squares = ((weights[1:, None] - weights[None, 1:]) ** 2).sum(axis=-1)
    assert run["since"].values.tolist() == run["iteration"].values.tolist() == [1, 2, 3, 4, 5]
    np.testing.assert_allclose(run["displacement_sq"], squares, rtol=1e-12, atol=1e-12)
    assert json.loads(run.attrs["origin"])["used"] == 15


def test_some_pairs_in_either_order_leave_the_others_open(write):
    weights = np.random.default_rng(0).standard_normal((4, 20)).cumsum(axis=0)
    pairs = [(1, 0), (2, 0), (3, 0), (0, 1), (1, 2), (9, 3)]
    text = pairs_of(np.vstack([weights, np.ones((6, 20))]), pairs)
    run = only(us.import_runs(write("walk.csv", text)))
    known = np.isfinite(run["displacement_sq"].values)
    assert known.tolist() == [[True, True, False], [True, True, False], [False, False, True]]
    origin = json.loads(run.attrs["origin"])
    assert (origin["used"], origin["left_out"]) == (5, {"of iterations without a record": 1})


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("0,1,7", "line 4: found 7 between iterations 0 and 1, and 1 elsewhere in the file"),
        ("2,1,7\n1,2,8", "line 5: found 8 between iterations 1 and 2, and 7 elsewhere"),
        ("1.5,1,7", "line 4: expected two iterations"),
        ("2,x,7", "line 4, column 'it1': found 'x', expected a number"),
    ],
)
def test_pairs_that_cannot_be_say_where(write, row, said):
    with pytest.raises(RecordError, match=said):
        us.import_runs(write("walk.csv", f"it0,it1,distance\n1,0,1\n2,0,2\n{row}\n"))


def test_without_a_start_there_is_no_recording(write):
    with pytest.raises(RecordError, match="--lagged: no row has 0 in 'it1'"):
        us.import_runs(write("walk.csv", "it0,it1,distance\n2,1,1\n3,1,2\n"))
