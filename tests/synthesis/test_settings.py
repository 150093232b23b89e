"""Settings that make no sense, and the sizes of octaves."""

import pytest

from conceptlab.errors import InputError
from conceptlab.synthesis.settings import Synthesis


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("parameters", "clouds", "fourier, pixels, free"),
        ("size", 0, "whole number from 1"),
        ("steps", 1.5, "whole number; got 1.5"),
        ("octaves", 0, "whole number from 1"),
        ("rate", 0.0, "above 0"),
        ("growth", 1.0, "above 1"),
        ("l2", -1.0, "from 0 on"),
        ("scale", float("nan"), "is a finite number; got nan"),
        ("rate", float("inf"), "is a finite number; got inf"),
    ],
)
def test_numbers_are_checked(name, value, message):
    with pytest.raises(InputError, match=f"{name}.*{message}"):
        Synthesis(**{name: value})


def test_octaves_grow_to_the_full_size():
    assert Synthesis().sides(224) == [224]
    assert Synthesis(octaves=3, growth=2.0).sides(224) == [56, 112, 224]
    assert Synthesis(octaves=20).sides(32)[0] == 1
