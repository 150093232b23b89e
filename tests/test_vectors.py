import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from conceptlab.errors import InputError, SpaceError
from conceptlab.vectors import ConceptVectors, Space

SPACE = Space("net", "f" * 64, "conv5", 3, "raw")


def make(weights, names=None, categories=None, **more):
    weights = np.asarray(weights, dtype=float)
    names = names or [f"c{i}" for i in range(len(weights))]
    concepts = pd.DataFrame({"name": names, "category": categories or ["object"] * len(names)})
    space = more.pop("space", Space("net", "f" * 64, "conv5", weights.shape[1], "raw"))
    return ConceptVectors(weights, np.zeros(len(weights)), concepts, "segmentation", space, **more)


def test_nearest_leaves_the_concept_itself_out():
    vectors = make([[1, 0, 0], [2, 0.1, 0], [0, 1, 0], [-1, 0, 0]], ["a", "b", "c", "d"])
    table = vectors.nearest("a", k=3)
    assert table["concept"].tolist() == ["b", "c", "d"]
    np.testing.assert_allclose(table["cosine"], [2 / np.hypot(2, 0.1), 0, -1], atol=1e-12)


def test_arithmetic_is_over_unit_vectors_and_leaves_its_terms_out():
    names = ["grass", "green", "blue", "sky", "other"]
    weights = [[5, 5, 0, 0], [0, 3, 0, 0], [0, 0, 7, 0], [1, 0, 1, 0], [0, 0, 0, 1]]
    found = make(weights, names).arithmetic(["grass", "blue"], ["green"], k=9)
    assert found["concept"].tolist() == ["sky", "other"]
    grass = np.array([1, 1, 0, 0]) / np.sqrt(2)
    query = grass + np.array([0, -1, 1, 0])
    sky = np.array([1, 0, 1, 0]) / np.sqrt(2)
    np.testing.assert_allclose(found["cosine"][0], query @ sky / np.linalg.norm(query))


def test_concepts_without_a_vector_never_appear_and_cannot_be_asked_for():
    vectors = make([[1, 0, 0], [0, 0, 0], [0, 1, 0]])
    assert vectors.nearest("c0")["concept"].tolist() == ["c2"]
    with pytest.raises(InputError, match="'c1' has no vector"):
        vectors.nearest("c1")


def test_shared_names_are_told_apart_by_category():
    vectors = make(np.eye(3), ["grass", "grass", "sky"], ["object", "material", "object"])
    assert vectors.names == ["object/grass", "material/grass", "sky"]
    assert vectors.index("material/grass") == 1
    with pytest.raises(InputError, match="several categories; say one of object/grass"):
        vectors.index("grass")
    with pytest.raises(InputError, match="nearest: sky"):
        vectors.index("skyy")


def test_one_string_in_place_of_a_list_is_an_error():
    with pytest.raises(InputError, match="lists"):
        make(np.eye(3)).arithmetic("c0")


finite = st.floats(-100, 100).filter(lambda x: x == 0 or abs(x) > 1e-3)


@given(arrays(float, (4, 3), elements=finite), st.floats(0.01, 100))
def test_similarity_ignores_length_and_is_symmetric(weights, scale):
    one, other = make(weights).similarity, make(weights * scale).similarity
    np.testing.assert_allclose(one, other, atol=1e-9)
    np.testing.assert_allclose(one, one.T)
    assert (np.abs(one) <= 1 + 1e-9).all()


def test_saved_and_loaded_is_the_same(tmp_path):
    space = Space("net", "f" * 64, "conv5", 3, "binary@0.005")
    vectors = make(
        np.arange(6.0).reshape(2, 3), ["<b>", "ä"], ["x", "y"], space=space,
        thresholds=np.array([1, 2, 3], np.float32), provenance={"seed": 1},
    )  # fmt: skip
    vectors.save(tmp_path / "v.h5")
    back = ConceptVectors.load(tmp_path / "v.h5")
    np.testing.assert_array_equal(back.weights, vectors.weights)
    np.testing.assert_array_equal(back.thresholds, vectors.thresholds)
    assert back.space == vectors.space
    assert back.names == ["<b>", "ä"]
    assert dict(back.provenance) == {"seed": 1}
    assert "&lt;b&gt;" in back._repr_html_()


def test_a_file_of_something_else_is_one_sentence(tmp_path):
    (tmp_path / "v.h5").write_text("no")
    with pytest.raises(InputError, match="not a file of concept vectors"):
        ConceptVectors.load(tmp_path / "v.h5")
    with pytest.raises(InputError, match="not a file of concept vectors"):
        ConceptVectors.load(tmp_path / "missing.h5")


def test_unequal_spaces_name_what_differs():
    with pytest.raises(SpaceError, match="layer: conv5 -> conv4"):
        SPACE.require_equal(Space("net", "f" * 64, "conv4", 3, "raw"))
    SPACE.require_equal(Space("another name", "f" * 64, "conv5", 3, "raw"))


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="do not fit"):
        ConceptVectors(
            np.eye(2), np.zeros(2), pd.DataFrame({"name": ["a"], "category": ["b"]}), "cav", SPACE
        )


def test_arrays_are_read_only():
    with pytest.raises(ValueError, match="read-only"):
        make(np.eye(3)).weights[0, 0] = 5


def test_vectors_of_another_network_are_not_applied():
    class Other:
        fingerprint = "0" * 64

    with pytest.raises(SpaceError, match="belong to net"):
        make(np.eye(3)).segment(Other(), None)


def test_select_by_name_and_by_condition():
    vectors = make(np.eye(3), ["a", "b", "c"], ["x", "y", "x"])
    assert vectors.select(["c", "a"]).names == ["c", "a"]
    assert vectors.select(lambda t: t["category"] == "x").names == ["a", "c"]
    np.testing.assert_array_equal(vectors.select("b").weights, [[0, 1, 0]])
