"""Files of word vectors in the formats that there are, whole and broken."""

import gzip
import struct
import tracemalloc

import numpy as np
import pytest

from conceptlab.analysis.references.word_files import LONGEST, read_words
from conceptlab.errors import InputError

WORDS = {
    "dog": [1.0, 0.0, 0.5], "street": [0.0, 2.0, 0.0], "light": [4.0, 0.0, 0.0],
    "street_light": [0.25, 0.5, 1.0], "sky": [0.5, -1.5, 2.0], "...": [1.0, 1e-5, -1.0],
    "café": [0.0, 0.125, 1.0],
}  # fmt: skip


def text(header, between=" ", ends="\n"):
    lines = [between.join([word, *map(str, v)]) for word, v in WORDS.items()]
    if header:
        lines.insert(0, f"{len(WORDS)} 3")
    return (ends.join(lines) + ends).encode()


def binary(ends="\n", count=7):
    body = b"".join(
        word.encode() + b" " + struct.pack("<3f", *v) + ends.encode() for word, v in WORDS.items()
    )
    return f"{count} 3\n".encode() + body


FORMATS = {
    "word2vec text": text(True), "GloVe": text(False), "word2vec binary": binary(),
    "binary without line ends": binary(""), "tabs": text(False, "\t"),
    "Windows": text(True, ends="\r\n"), "space at the end": text(True, ends=" \n"),
}  # fmt: skip


def read(tmp_path, body, wanted=tuple(WORDS)):
    path = tmp_path / "words"
    path.write_bytes(body)
    return read_words(path, wanted)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_vectors(tmp_path, name, packed):
    body = gzip.compress(FORMATS[name]) if packed else FORMATS[name]
    found, size, _ = read(tmp_path, body)
    assert size == 3
    assert set(found) == set(WORDS)
    for word, vector in WORDS.items():
        np.testing.assert_allclose(found[word], vector, rtol=1e-7)


@pytest.mark.parametrize("body", [text(True), text(False), binary()])
def test_only_wanted_words_are_kept(tmp_path, body):
    found, size, _ = read(tmp_path, body, {"sky", "unicorn"})
    assert (list(found), size) == (["sky"], 3)
    assert read(tmp_path, body, set())[:2] == ({}, 3)


def test_words_of_several_parts_stand_before_the_last_numbers(tmp_path):
    body = text(False) + b". . . 7 8 9\nat name@domain.com 1 1 1\nsky 0 0 0\n"
    found, _, _ = read(tmp_path, body, {". . .", "sky", "name@domain.com", "at"})
    assert set(found) == {". . .", "sky"}
    np.testing.assert_array_equal(found[". . ."], [7, 8, 9])
    np.testing.assert_array_equal(found["sky"], WORDS["sky"])  # of two, the first


@pytest.mark.parametrize("value", [0.1, 1.0, 2.5e-5, 0.0, -7.25])
@pytest.mark.parametrize("ends", ["", "\n"])
def test_binary_numbers_are_never_taken_for_text(tmp_path, value, ends):
    body = b"3 4\n" + b"".join(
        word + b" " + struct.pack("<4f", *[value] * 4) + ends.encode()
        for word in (b"a", b"5", b"c")
    )
    found, _, _ = read(tmp_path, body, {"a", "5", "c"})
    np.testing.assert_array_equal(np.stack(list(found.values())), np.float32([[value] * 4] * 3))


def test_the_last_block_of_a_large_binary_file_is_read_like_the_first(tmp_path):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(30_000, 20)).astype("<f4")  # some 2.6 MB, several reads
    body = b"30000 20\n" + b"".join(b"w%d " % i + row.tobytes() for i, row in enumerate(rows))
    for packed in (body, gzip.compress(body, 1)):
        found, _, _ = read(tmp_path, packed, {f"w{i}" for i in range(0, 30_000, 7)})
        assert len(found) == len(range(0, 30_000, 7))
        assert all((found[f"w{i}"] == rows[i]).all() for i in range(0, 30_000, 7))


def test_a_fingerprint_is_of_the_whole_content_packed_or_not(tmp_path):
    body = b"".join(b"w%d 1 2 3\n" % i for i in range(20_000)) + b"sky 1 2 3\n"
    mark = read(tmp_path, body, {"sky"})[2]
    assert read(tmp_path, gzip.compress(body), {"dog"})[2] == mark
    assert read(tmp_path, body[:-2] + b"4\n", {"sky"})[2] != mark
    assert read(tmp_path, binary())[2] != read(tmp_path, binary(""))[2]


def broken():
    rest = b"".join(b"w%d 1 2 3\n" % i for i in range(9000))
    flipped = bytearray(gzip.compress(rest))
    flipped[10] ^= 0xFF  # the first block's kind
    return {
        "short line": (text(False).replace(b"sky 0.5 ", b"sky "), "line 5: 2 numbers where"),
        "long line": (text(True).replace(b"sky 0.5", b"sky 0.5 0.5"), "line 6: 4 numbers where"),
        "no number": (text(False).replace(b"-1.5", b"abc"), "line 5: 'abc' is no number"),
        "not finite": (text(False).replace(b"-1.5", b"nan"), "line 5: a number that is not finite"),
        "at the start": (text(True).replace(b"dog 1.0", b"dog x"), "line 2: 'x' is no number"),
        "UTF-16": (text(False).decode().encode("utf-16"), "is UTF-16 by its first bytes: save it"),
        "too few": (text(True).replace(b"7 3", b"9 3"), "7 words where its first line says 9"),
        "too many": (text(True).replace(b"7 3", b"5 3"), "7 words where its first line says 5"),
        "wider": (text(True).replace(b"7 3", b"7 5"), "line 2: 3 numbers where the file has 5"),
        "narrower": (text(True).replace(b"7 3", b"7 2"), "line 2: 3 numbers where the file has 2"),
        "header only": (b"7 3\n", "breaks off at word 1 of 7"),
        "far wider": (text(True).replace(b"7 3", b"7 99"), "line 2: 3 numbers where the file has"),
        "absurd": (b"3 99999999\n" + text(False), "line 1: 3 words of 99999999 numbers make no"),
        "cut": (binary()[:-9], "breaks off at word 7 of 7"),
        "cut in a word": (binary()[: -len("café") - 13], "breaks off at word 7 of 7"),
        "endless word": (binary()[:21] + b"x" * (LONGEST + 50), "breaks off at word 2 of 7"),
        "more": (binary(count=5), "holds more than the 5 words"),
        "binary not finite": (
            binary().replace(struct.pack("<f", -1.5), struct.pack("<f", np.nan)),
            "word 5: a number that is not finite",
        ),
        "empty": (b"", "holds no word vectors"),
        "blank": (b"\n\n", "holds no word vectors"),
        "one word": (b"dog\n", "line 1: 0 numbers where the file has at least 1"),
        "cut gzip": (gzip.compress(text(False))[:-12], "cannot read the word vectors"),
        "flipped gzip": (bytes(flipped), "cannot read the word vectors"),
    }  # fmt: skip


@pytest.mark.parametrize("case", broken())
def test_broken_files_are_refused_with_their_line(tmp_path, case):
    body, said = broken()[case]
    with pytest.raises(InputError, match=said):
        read(tmp_path, body, {"sky"})


@pytest.mark.parametrize("case", ["short line", "long line", "no number", "not finite"])
def test_a_line_that_nobody_asks_for_is_not_broken_either(tmp_path, case):
    body, said = broken()[case]
    with pytest.raises(InputError, match=said):
        read(tmp_path, body, {"dog"})


def test_a_missing_file_and_a_folder_are_said(tmp_path):
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(InputError, match=f"cannot read the word vectors {path} "):
            read_words(path, {"sky"})


@pytest.mark.parametrize("form", ["text", "binary"])
def test_memory_does_not_grow_with_the_vocabulary(tmp_path, form):
    read(tmp_path, text(False))  # what is loaded once
    peaks = []
    for count in (30_000, 150_000):  # both more than is held at a time
        if form == "text":
            row = b" 0.5" * 20
            body = b"".join(b"w%d%b\n" % (i, row) for i in range(count))
        else:
            row = np.full(20, 0.1, dtype="<f4").tobytes()
            body = b"%d 20\n" % count + b"".join(b"w%d " % i + row for i in range(count))
        path = tmp_path / f"{count}"
        path.write_bytes(body)
        del body
        tracemalloc.start()
        found, _, _ = read_words(path, {"w7", "w9999"})
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert len(found) == 2
    assert peaks[1] < 1.5 * peaks[0]


@pytest.mark.parametrize("header", [False, True])
@pytest.mark.parametrize("word", [b"dog", b"sky"])
def test_a_word_that_is_no_utf_8_costs_itself_alone(tmp_path, caplog, header, word):
    found, size, _ = read(tmp_path, text(header).replace(word, b"d\xff\xfe"))
    assert (set(found), size) == (set(WORDS) - {word.decode()}, 3)
    assert "1 of 7 words are no UTF-8, and are left out" in caplog.text


@pytest.mark.parametrize("body", [text(True), text(False)])
def test_a_byte_order_mark_is_no_part_of_the_first_word(tmp_path, body):
    found, size, _ = read(tmp_path, b"\xef\xbb\xbf" + body)
    assert (set(found), size) == (set(WORDS), 3)
    assert found["dog"].tolist() == WORDS["dog"]


@pytest.mark.parametrize("count", ["9" * 30, "9" * 5000])
def test_a_header_of_more_words_than_any_file_holds_is_refused(tmp_path, count):
    (tmp_path / "w.bin").write_bytes(f"{count} 3\n".encode() + b"sky " + bytes(12))
    with pytest.raises(InputError, match=r"w\.bin"):
        read_words(tmp_path / "w.bin", {"sky"})
