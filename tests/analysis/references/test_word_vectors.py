"""Vectors of concepts' names from files of words and from sentence encoders."""

import logging
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from conceptlab.analysis.references.word_vectors import sentence_vectors, word_vectors
from conceptlab.errors import InputError
from conceptlab.vectors import ConceptVectors

WORDS = {
    "dog": [1.0, 0.0, 0.5], "Paris": [1.0, 1.0, 1.0], "paris": [9.0, 9.0, 9.0],
    "street": [0.0, 2.0, 0.0], "light": [4.0, 0.0, 0.0], "sky": [3.0, 0.0, 4.0],
    "street_light": [0.25, 0.5, 1.0], "traffic-light": [1.0, 2.0, 3.0], "café": [0.0, 0.125, 1.0],
}  # fmt: skip


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("\n".join(" ".join([w, *map(str, v)]) for w, v in WORDS.items()))
    return path


@pytest.mark.parametrize(
    ("name", "vector", "note"),
    [
        ("dog", WORDS["dog"], ""),
        ("café", WORDS["café"], ""),
        ("Paris", WORDS["Paris"], ""),  # as it stands, before lower case
        ("PARIS", WORDS["paris"], "as 'paris'"),
        ("dog-c", WORDS["dog"], "as 'dog'"),
        ("street light", WORDS["street_light"], "as 'street_light'"),
        ("StreetLight", WORDS["street_light"], "as 'street_light'"),
        ("traffic_light", WORDS["traffic-light"], "as 'traffic-light'"),
        ("street sky", [0.3, 0.5, 0.4], "mean of its words"),  # (0, 1, 0) and (0.6, 0, 0.8)
        ("Street_Sky", [0.3, 0.5, 0.4], "mean of its words"),
        ("unicorn", [0, 0, 0], "not in the file"),
        ("street unicorn", [0, 0, 0], "not in the file"),
        ("", [0, 0, 0], "not in the file"),
    ],
)
def test_names_are_found_as_files_of_words_write_them(file, name, vector, note):
    found = word_vectors(file, [name])
    np.testing.assert_allclose(found.weights[0], vector)
    assert found.concepts["note"].item() == note
    assert found.usable.item() == any(vector)


def test_vectors_say_what_space_they_are_in(file):
    found = word_vectors(str(file), ["dog"])
    assert (found.kind, found.space.layer, found.space.inputs) == ("words", "words", "raw")
    assert (found.space.model, found.space.units) == ("words.txt", 3)
    other = file.with_name("other") / "words.txt"
    other.parent.mkdir()
    other.write_text(file.read_text() + "\nunicorn 1 2 3\n")
    assert word_vectors(other, ["dog"]).space != found.space
    assert word_vectors(file, ["sky"]).space == found.space


def test_unknown_names_stay_listed_and_are_said(file, caplog):
    with caplog.at_level(logging.WARNING):
        found = word_vectors(file, ["dog", "unicorn", "sky"])
    assert caplog.messages == ["words.txt does not know unicorn"]
    assert list(found.usable) == [True, False, True]
    assert list(found.concepts.columns) == ["name", "category", "note"]


def test_concepts_keep_their_categories_and_come_back_from_disk(file, tmp_path):
    table = pd.DataFrame({"name": ["dog", "dog"], "category": ["object", "part"]})
    found = word_vectors(file, table)
    assert found.names == ["object/dog", "part/dog"]
    found.save(tmp_path / "words.h5")
    again = ConceptVectors.load(tmp_path / "words.h5")
    assert again.space == found.space
    np.testing.assert_array_equal(again.weights, found.weights)


def letters(texts):
    """A small encoder: how often each letter stands in a text."""
    return np.array([[t.count(chr(97 + k)) for k in range(26)] for t in texts], dtype=float)


def test_sentences_are_encoded_from_readable_names():
    found = sentence_vectors(["street light-c", "SignSymbol"], letters, "a photo of a {}")
    np.testing.assert_array_equal(
        found.weights, letters(["a photo of a street light", "a photo of a Sign Symbol"])
    )
    assert (found.kind, found.space.model, found.space.units) == ("words", "letters", 26)


def test_encoders_of_one_name_are_told_apart_by_what_they_say():
    def space(factor, names=("dog",)):
        return sentence_vectors(list(names), lambda texts: factor * letters(texts)).space

    assert space(1) == space(1, ("cat", "sky"))
    assert space(1) != space(2)


@pytest.mark.parametrize(
    "answer", [np.zeros(3), np.zeros((3, 4)), np.zeros((2, 0)), np.full((2, 4), np.nan), ["a", "b"],
               [[1], [1, 2]], None],
)  # fmt: skip
def test_what_is_no_vector_per_text_is_refused(answer):
    with pytest.raises(InputError, match="gave no vector"):
        sentence_vectors(["a", "b"], lambda texts: answer)


def test_a_template_needs_a_place_for_the_name():
    with pytest.raises(InputError, match="where the name stands; got 'a photo'"):
        sentence_vectors(["a"], letters, "a photo")


def test_a_missing_package_is_said():
    program = (
        "import sys; sys.modules['sentence_transformers'] = None\n"
        "from conceptlab.analysis.references.word_vectors import sentence_vectors\n"
        "from conceptlab.errors import InputError\n"
        "try: sentence_vectors(['dog'])\n"
        "except InputError as error: print(error)"
    )
    made = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    said = "sentence-transformers is not installed: pip install 'conceptlab[text]'"
    assert made.stdout.strip() == said


@pytest.mark.slow
def test_a_model_in_a_folder_is_used(tmp_path):
    transformers = pytest.importorskip("sentence_transformers")
    try:
        from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    except ImportError:  # where it was in older versions
        from sentence_transformers.models import StaticEmbedding
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    tokenizer = Tokenizer(WordLevel({"[UNK]": 0, "dog": 1, "street": 2, "light": 3}, "[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    rows = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    model = transformers.SentenceTransformer(
        modules=[StaticEmbedding(tokenizer, embedding_weights=rows)], device="cpu"
    )
    model.save(str(tmp_path / "tiny"))
    for folder in (tmp_path / "tiny", str(tmp_path / "tiny")):
        found = sentence_vectors(["dog", "street_light"], folder)
        np.testing.assert_allclose(found.weights, [rows[1], rows[2:].mean(axis=0)], rtol=1e-6)
        assert found.space.model == "tiny"


@pytest.mark.slow
def test_an_encoder_that_cannot_be_loaded_is_said(tmp_path):
    pytest.importorskip("sentence_transformers")
    (tmp_path / "empty").mkdir()
    for name in ("none", "empty"):
        with pytest.raises(InputError, match=f"{name}' cannot be loaded"):
            sentence_vectors(["dog"], tmp_path / name)
