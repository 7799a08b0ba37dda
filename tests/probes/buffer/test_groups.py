import pytest
import torch

from ultraslow.probes.buffer.groups import tensor_groups

NAMES = ["embed.weight", "a.attn.q", "a.attn.k", "a.mlp", "b.attn.q", "head"]


def test_the_first_group_that_fits_takes_a_tensor():
    found = tensor_groups(
        NAMES, {"queries": "*.q", "attention": "*.attn.*", "ends": ["emb*", "head"]}
    )
    assert found.names == ("ends", "queries", "attention", "a.mlp")
    assert found.members == ((0, 5), (1, 4), (2,), (3,))
    assert found.grouped == ("ends", "queries", "attention")


def test_values_are_added_group_by_group_and_what_is_unknown_stays_in_its_own():
    groups = tensor_groups(NAMES, {"attention": "*.attn.*"})
    values = torch.tensor([[1.0, 2.0, 4.0, torch.nan, 8.0, torch.inf]])
    found = groups.added(values.double())
    expected = torch.tensor([[1.0, 14.0, torch.nan, torch.inf]]).double()
    torch.testing.assert_close(found, expected, equal_nan=True, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("patterns", "error", "told"),
    [
        (
            {"attention": "*.atn.*"},
            ValueError,
            r"no tensor that fits '\*\.atn\.\*' of 'attention'",
        ),
        ({"head": "*.q"}, ValueError, "found 'head', the name of a tensor"),
        ({"a": 3}, TypeError, "expected a name with a pattern"),
        ({"a": []}, TypeError, "expected a name with a pattern"),
        ({3: "*"}, TypeError, "expected a name with a pattern"),
    ],
)
def test_patterns_that_cannot_be_meant_are_refused(patterns, error, told):
    with pytest.raises(error, match=told):
        tensor_groups(NAMES, patterns)
