import pytest

from conceptlab.errors import InputError
from conceptlab.registry import Registry, near_matches


def test_registers_and_finds():
    registry = Registry("thing")

    @registry.register("one")
    class One:
        pass

    assert registry["one"] is One
    assert list(registry) == ["one"]


def test_unknown_name_suggests_the_nearest():
    registry = Registry("source")
    registry.register("folder")(1)
    registry.register("broden")(2)
    with pytest.raises(InputError, match="unknown source 'foldr'; nearest: folder"):
        registry["foldr"]


def test_a_name_is_registered_once():
    registry = Registry("thing")
    registry.register("a")(1)
    with pytest.raises(ValueError, match="registered twice"):
        registry.register("a")(2)


def test_without_a_near_name_all_are_listed():
    assert near_matches("zzz", ["a", "b"]) == "known: a, b"
    assert near_matches("zzz", []) == "known: none"
