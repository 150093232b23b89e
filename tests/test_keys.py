import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conceptlab.keys import canonical, differences, digest

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)  # fmt: skip
specs = st.dictionaries(st.text(), values)


@given(specs)
def test_order_of_fields_does_not_matter(spec):
    backwards = dict(reversed(list(spec.items())))
    assert canonical(spec) == canonical(backwards)
    assert digest(spec) == digest(backwards)


@given(specs, st.text(), st.integers())
def test_a_changed_field_changes_the_digest_and_is_named(spec, key, value):
    changed = {**spec, key: value}
    if canonical(changed) != canonical(spec):
        assert digest(changed) != digest(spec)
        assert (
            any(line.startswith(key) for line in differences(spec, changed)) or spec[key] == value
        )


def test_nan_has_no_canonical_form():
    with pytest.raises(ValueError, match="JSON"):
        canonical({"a": float("nan")})


def test_differences_name_the_path():
    have = {"model": {"mean": [0.5], "size": 224}, "layer": "a"}
    want = {"model": {"mean": [0.4], "size": 224}, "dtype": "float16"}
    assert differences(have, want) == [
        "dtype: absent -> float16",
        "layer: a -> absent",
        "model.mean: [0.5] -> [0.4]",
    ]


def test_names_that_are_no_utf8_have_a_key_and_come_back():
    spec = {"weights": b"caf\xe9.pth".decode("utf-8", "surrogateescape")}
    assert len(digest(spec)) == 64
    assert canonical(spec).encode()
    assert json.loads(canonical(spec)) == spec
    assert canonical({"a": "\u96ea\\"}) == '{"a":"\u96ea\\\\"}'
