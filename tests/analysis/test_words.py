"""Word vectors in the formats that there are, whole and broken."""

import gzip
import logging
import struct

import numpy as np
import pandas as pd
import pytest

from conceptlab.analysis.words import sentence_vectors, word_vectors
from conceptlab.errors import InputError

WORDS = {
    "dog": [1.0, 0.0, 0.5], "street": [0.0, 2.0, 0.0], "light": [4.0, 0.0, 0.0],
    "street_light": [0.25, 0.5, 1.0], "sky": [0.5, -1.5, 2.0], ". . .": [1.0, 1.0, 1.0],
    "café": [0.0, 0.125, 1.0],
}  # fmt: skip


def text(header):
    lines = [f"{word} {' '.join(map(str, v))}" for word, v in WORDS.items()]
    if header:
        lines.insert(0, f"{len(WORDS)} 3")
    return ("\n".join(lines) + "\n").encode()


def binary(ends="\n", count=7):
    body = b"".join(
        word.replace(" ", "").encode() + b" " + struct.pack("<3f", *v) + ends.encode()
        for word, v in WORDS.items()
    )
    return f"{count} 3\n".encode() + body


FORMATS = {
    "word2vec.txt": text(True), "glove.txt": text(False), "word2vec.bin": binary(),
    "plain.bin": binary(""),
}  # fmt: skip


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_vectors(tmp_path, name, packed, caplog):
    path = tmp_path / name
    path.write_bytes(gzip.compress(FORMATS[name]) if packed else FORMATS[name])
    asked = ["sky", "Dog", "street light", "street sky", "unicorn", "café"]
    with caplog.at_level(logging.WARNING):
        found = word_vectors(path, asked)
    assert (found.kind, found.space.units) == ("words", 3)
    np.testing.assert_allclose(found.weights[0], WORDS["sky"])
    np.testing.assert_allclose(found.weights[1], WORDS["dog"])
    np.testing.assert_allclose(found.weights[2], WORDS["street_light"])
    sky = np.array(WORDS["sky"])
    np.testing.assert_allclose(found.weights[3], ([0, 1, 0] + sky / np.linalg.norm(sky)) / 2)
    np.testing.assert_allclose(found.weights[5], WORDS["café"])
    assert list(found.usable) == [True, True, True, True, False, True]
    assert f"{name} does not know unicorn" in caplog.text
    notes = found.concepts["note"].tolist()
    assert notes[0] == ""
    assert notes[1:5] == ["as 'dog'", "as 'street_light'", "mean of its words", "not in the file"]


def test_concepts_keep_their_categories_and_other_files_are_other_spaces(tmp_path):
    for number, name in enumerate("ab"):
        (tmp_path / name).write_bytes(text(False) + b"x 1 2 %d\n" % number)
    table = pd.DataFrame({"name": ["dog", "dog"], "category": ["object", "part"]})
    first, second = (word_vectors(tmp_path / name, table) for name in "ab")
    assert first.names == ["object/dog", "part/dog"]
    assert first.space.weights != second.space.weights or first.space.model != second.space.model


def broken():
    return {
        "short line": (text(False).replace(b"sky 0.5 ", b"sky "), "line 5: 2 numbers where"),
        "long line": (text(True).replace(b"sky 0.5", b"sky x 0.5 0.5"), "line 6"),
        "no number": (text(False).replace(b"-1.5", b"abc"), "line 5: could not convert"),
        "not finite": (text(False).replace(b"-1.5", b"nan"), "line 5: a number that is not finite"),
        "bytes": (text(False).replace(b"sky", b"\xff\xfe b"), "line 5: a word that is no UTF-8"),
        "too few": (text(True).replace(b"7 3", b"9 3"), "7 words where its first line says 9"),
        "cut": (binary()[:-9], "breaks off at word 7 of 7"),
        "more": (binary(count=5), "holds more than the 5 words"),
        "empty": (b"", "holds no word vectors"),
        "one word": (b"dog\n", "line 1: 0 numbers where the file has at least 1"),
        "absurd": (b"3 99999999\n" + text(False), "make no sense"),
        "cut gzip": (gzip.compress(text(False))[:-12], "cannot read the word vectors"),
    }  # fmt: skip


@pytest.mark.parametrize("case", broken())
def test_broken_files_are_refused_with_their_line(tmp_path, case):
    body, said = broken()[case]
    path = tmp_path / "words"
    path.write_bytes(body)
    with pytest.raises(InputError, match=said):
        word_vectors(path, ["sky"])


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(InputError, match=r"cannot read the word vectors .*none"):
        word_vectors(tmp_path / "none", ["sky"])


def test_memory_does_not_grow_with_the_vocabulary(tmp_path):
    import tracemalloc

    peaks = []
    for count in (2_000, 40_000):
        path = tmp_path / str(count)
        row = " ".join(["0.5"] * 50)
        path.write_text("".join(f"w{i} {row}\n" for i in range(count)))
        tracemalloc.start()
        word_vectors(path, ["w7", "w9"])
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


def letters(texts):
    """A small encoder: how often each letter stands in a text."""
    return np.array([[t.count(chr(97 + k)) for k in range(26)] for t in texts], dtype=float)


def test_sentences_are_encoded_from_readable_names():
    found = sentence_vectors(["street light-c", "SignSymbol"], letters, "a photo of a {}")
    np.testing.assert_array_equal(
        found.weights, letters(["a photo of a street light", "a photo of a Sign Symbol"])
    )
    with pytest.raises(InputError, match="gave no vector per text"):
        sentence_vectors(["a", "b"], lambda texts: np.zeros(3))


def test_an_encoder_that_cannot_be_loaded_is_said(tmp_path):
    pytest.importorskip("sentence_transformers")
    with pytest.raises(InputError, match="cannot be loaded"):
        sentence_vectors(["dog"], str(tmp_path / "no-model"))
