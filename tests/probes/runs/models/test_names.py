import pytest

from ultraslow.probes.runs.models.names import architecture


def test_every_published_depth_has_its_blocks():
    # He et al. (2016), tables 1 and 6.
    blocks = {
        "resnet20": (3, 3, 3),
        "resnet110": (18, 18, 18),
        "resnet18": (2, 2, 2, 2),
        "resnet34": (3, 4, 6, 3),
        "resnet50": (3, 4, 6, 3),
        "resnet101": (3, 4, 23, 3),
    }
    assert {name: architecture(name).blocks for name in blocks} == blocks


def test_width_and_shortcut_overrule_the_paper():
    assert architecture("resnet20").shortcut == "padding"
    assert architecture("resnet50").shortcut == "projection"
    changed = architecture("resnet20", width=4, shortcut="projection")
    assert (changed.width, changed.shortcut) == (4, "projection")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "resnet9"}, "model: found 'resnet9', expected resnet18"),
        ({"name": "resnet2"}, "model: found 'resnet2'"),
        ({"name": "vgg"}, "model: found 'vgg'"),
        ({"name": "resnet8", "width": -1}, "width: found -1, expected 1 or more"),
        ({"name": "resnet8", "shortcut": "none"}, "shortcut: found 'none'"),
    ],
)
def test_messages(arguments, message):
    with pytest.raises(ValueError, match=message):
        architecture(**arguments)
