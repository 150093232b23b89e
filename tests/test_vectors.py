from dataclasses import asdict, replace

import h5py
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from conceptlab.errors import InputError, SpaceError
from conceptlab.keys import canonical
from conceptlab.seal import guard_page
from conceptlab.space import Space
from conceptlab.vectors import ConceptVectors

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
    with pytest.raises(InputError, match="plus is a list of names"):
        make(np.eye(3)).arithmetic("c0")
    with pytest.raises(InputError, match="at least 1; got -1"):
        make(np.eye(3)).arithmetic(["c0"], k=-1)
    with pytest.raises(InputError, match="add up to nothing"):
        make(np.eye(3)).arithmetic(["c0"], ["c0"])


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


NUMBERS = [1 / 3, 3.3e-12, 1e-17, 5e-324, 0.1 + 0.2, -0.0, 1.7e308, np.inf, -np.inf, np.nan]
NAMES = ["007", "nan", "NA", "", "1e5", "true", "ä\u0301", "=1+1", "a,b", "None"]


def test_the_table_keeps_every_number_text_and_type(tmp_path):
    count = len(NUMBERS)
    columns = {
        "double": np.array(NUMBERS),
        "single": np.array([*NUMBERS[:3], 1e-45, *NUMBERS[4:6], 3e38, *NUMBERS[7:]], "f4"),
        "whole": np.arange(count) + 2**62,
        "small": np.arange(count, dtype=np.uint8),
        "truth": np.arange(count) % 2 == 0,
        "note": ["few", "", None] + ["x"] * (count - 3),
        "mixed": pd.Series([1, 2.5, "3", None, True] + [0] * (count - 5), dtype=object),
    }
    vectors = make(np.ones((count, 3)), NAMES, NAMES)
    vectors = replace(vectors, concepts=vectors.concepts.assign(**columns))
    vectors.save(tmp_path / "v.h5")
    back = ConceptVectors.load(tmp_path / "v.h5").concepts
    pd.testing.assert_frame_equal(back, vectors.concepts, check_exact=True)
    assert np.signbit(back["double"][5])
    vectors.save(tmp_path / "again.h5")
    assert (tmp_path / "again.h5").read_bytes() == (tmp_path / "v.h5").read_bytes()


def test_values_that_a_file_cannot_keep_are_refused_before_writing(tmp_path):
    vectors = make(np.eye(3))
    odd = replace(vectors, concepts=vectors.concepts.assign(odd=[{1}, 2, 3]))
    with pytest.raises(InputError, match="column 'odd' holds a set"):
        odd.save(tmp_path / "v.h5")
    assert not list(tmp_path.iterdir())


@pytest.fixture
def kept(tmp_path):
    """The path of saved vectors over thresholded activations."""
    space = Space("net", "f" * 64, "conv5", 3, "binary@0.005")
    vectors = make(
        np.arange(6.0).reshape(2, 3), ["a", "b"], space=space,
        thresholds=np.ones(3, np.float32), provenance={"seed": 1},
    )  # fmt: skip
    vectors.save(tmp_path / "v.h5")
    return tmp_path / "v.h5"


def test_any_flipped_bit_is_found(kept):
    content = kept.read_bytes()
    used = [*range(len(content[:4096].rstrip(b"\n"))), *range(4096, len(content))]
    rng = np.random.default_rng(0)
    for place in rng.choice(used, 400, replace=False):
        damaged = bytearray(content)
        damaged[place] ^= 1 << rng.integers(8)
        kept.write_bytes(damaged)
        with pytest.raises(InputError, match=r"v\.h5"):
            ConceptVectors.load(kept)


def edited(path, edit):
    """Change a file as somebody would who knows how to seal it again."""
    with h5py.File(path, "r+") as file:
        edit(file)
    guard_page(path, [])


def put(name, **settings):
    def edit(file):
        del file[name]
        file.create_dataset(name, **settings)

    return edit


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (put("weights", shape=(30_000, 40_000), dtype="f8"), "shape"),
        (put("weights", shape=(2, 3), dtype="f8"), "declares more than the file holds"),
        (put("weights", data=np.ones((2, 3), "c16")), "of type complex128"),
        (put("weights", data=np.ones((2, 3), int)), "of type int64"),
        (put("weights", shape=(2, 3), dtype="u1", external=[("/etc/passwd", 0, 6)]), "another"),
        (put("bias", data=np.ones((2, 1))), "shape"),
        (put("thresholds", data=np.ones(4)), "shape"),
        (put("concepts", data="[" * 30_000), "nested too deep"),
        (put("concepts", data='[{"name":"q","type":"str","values":["a","b"]}]'), "column 'name'"),
        (put("concepts", data="{}"), "fit|shape|column"),
        (put("concepts", data='[{"name":"name","type":"int64","values":[1.5,2]}]'), "no table"),
        (put("concepts", data='[{"name":"name","type":"O8","values":3}]'), "no table"),
        (lambda f: f.attrs.__setitem__("space", "[" * 30_000 + "]" * 30_000), "nested too deep"),
        (lambda f: f.attrs.__setitem__("space", f.attrs["space"].replace(":3", ":null")), "units"),
        (lambda f: f.attrs.__setitem__("space", f.attrs["space"].replace(":3", ':"3"')), "units"),
        (lambda f: f.attrs.__setitem__("space", "[]"), "space"),
        (lambda f: f.attrs.__setitem__("space", f.attrs["space"].replace(":3", ":" + "9" * 99)),
         "shape"),
        (lambda f: f.attrs.__setitem__("provenance", "3"), "provenance"),
        (lambda f: f.attrs.__setitem__("schema", 99), "schema 99"),
        (lambda f: f.attrs.__setitem__("kind", [1, 2]), "'kind'"),
    ],
)  # fmt: skip
def test_a_strangers_file_is_one_sentence(kept, edit, said):
    edited(kept, edit)
    with pytest.raises(InputError, match=said) as caught:
        ConceptVectors.load(kept)
    assert "v.h5" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_space_without_inputs_is_one_sentence(kept):
    edited(kept, lambda f: f.attrs.__setitem__(
        "space", f.attrs["space"].replace('"binary@0.005"', "null")))  # fmt: skip
    with pytest.raises(InputError, match="its space"):
        ConceptVectors.load(kept)


def test_a_file_of_an_earlier_version_is_read_with_a_warning(tmp_path, caplog):
    vectors = make(np.eye(2, 3), ["007", "b"])
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file["weights"], file["bias"] = vectors.weights, vectors.bias
        file["concepts"] = vectors.concepts.to_json(orient="table", index=False)
        file.attrs["schema"], file.attrs["kind"] = 1, "cav"
        file.attrs["space"] = canonical({k: v for k, v in asdict(SPACE).items() if k != "sketch"})
        file.attrs["provenance"] = "{}"
    back = ConceptVectors.load(tmp_path / "v.h5")
    np.testing.assert_array_equal(back.weights, vectors.weights)
    assert back.names == ["007", "b"]
    assert "has no seal" in caplog.text
    with h5py.File(tmp_path / "v.h5", "r+") as file:
        file.attrs["schema"] = 2
    with pytest.raises(InputError, match="seal is missing"):
        ConceptVectors.load(tmp_path / "v.h5")


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
        SPACE.require_model(Other())


def test_select_by_name_and_by_condition():
    vectors = make(np.eye(3), ["a", "b", "c"], ["x", "y", "x"])
    assert vectors.select(["c", "a"]).names == ["c", "a"]
    assert vectors.select(lambda t: t["category"] == "x").names == ["a", "c"]
    np.testing.assert_array_equal(vectors.select("b").weights, [[0, 1, 0]])
