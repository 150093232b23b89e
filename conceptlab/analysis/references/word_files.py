"""Files of word vectors, read in a stream: word2vec's text and binary formats, and GloVe's.

Mikolov et al. 2013 (word2vec); Pennington, Socher & Manning 2014 (GloVe). Packed by gzip or not;
what a file is, its content says, not its name.
"""

import gzip
import hashlib
import io
import logging
import zlib
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from conceptlab.errors import InputError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

Floats = NDArray[np.float64]
Pairs = Iterator[tuple[str, Floats]]
T = TypeVar("T")
PEEK = 1 << 16  # bytes that tell the format
log = logging.getLogger(__name__)

LONGEST = 4096  # bytes of a word
DIGITS = 15  # of a count of words
WIDEST = 100_000  # numbers of a word
READ = 1 << 20  # bytes at a time
MARK = b"\xef\xbb\xbf"  # that a file is UTF-8, as some editors write
NUMERIC = b"0123456789+-.eE "


def read_words(path: Path, wanted: Collection[str]) -> tuple[dict[str, Floats], int, str]:
    """The vectors of some words; memory does not grow with the file.

    Args:
        path: of the file.
        wanted: words to keep; of a word that stands twice, the first.

    Returns:
        Word to (K,) for those that the file has; K; a fingerprint of the file's (unpacked) bytes.

    Raises:
        InputError: no such file, or one that is broken; the message says where.
    """
    found: dict[str, Floats] = {}
    size = 0
    try:
        with _Hashed(path) as hashed, io.BufferedReader(hashed, PEEK) as file:
            for word, vector in _pairs(file, path, wanted):
                size = len(vector)
                if word in wanted:
                    found.setdefault(word, vector)
            while file.read(READ):
                pass
            mark = hashed.mark.hexdigest()
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"cannot read the word vectors {path} ({error})") from error
    if not size:
        raise InputError(f"{path} holds no word vectors")
    return found, size, mark


class _Hashed(io.RawIOBase):
    """A file's bytes, unpacked if need be, with the fingerprint of what was read.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        raw = io.BufferedReader(cast(Any, gzip.open(path)), PEEK) if packed else path.open("rb")
        self.inner, self.mark = raw, hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer)
        count = self.inner.readinto(view)
        self.mark.update(view[:count])
        return count

    def close(self) -> None:
        self.inner.close()
        super().close()


def _pairs(file: "io.BufferedReader[Any]", path: Path, wanted: Collection[str]) -> Pairs:
    """Wanted words with their vectors, and the first word's in any case, for its length."""
    if file.peek(PEEK)[:3] == MARK:
        file.read(len(MARK))
    start = file.peek(PEEK)[:PEEK]
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise InputError(f"{path} is UTF-16 by its first bytes: save it as UTF-8")
    first, _, body = start.partition(b"\n")
    header = first.split()
    if len(header) != 2 or not all(part.isdigit() for part in header):
        return _text(file, None, path, wanted)
    if max(len(part) for part in header) > DIGITS:
        raise InputError(f"{path}, line 1: more words, or numbers a word, than any file holds")
    count, size = (int(part) for part in header)
    if not count or not 0 < size < WIDEST:
        raise InputError(f"{path}, line 1: {count} words of {size} numbers make no sense")
    file.readline()
    if _is_text(body, size):
        return _text(file, (count, size), path, wanted)
    return _binary(file, count, size, path, wanted)


def _is_text(body: bytes, size: int) -> bool:
    """Whether what follows a header is text: half of its first line is numbers, if not all."""
    fields = body.partition(b"\n")[0].rsplit(None, size)[1:]
    return bool(fields) and 2 * sum(map(_is_number, fields)) >= len(fields)


def _text(
    file: IO[bytes], header: tuple[int, int] | None, path: Path, wanted: Collection[str]
) -> Pairs:
    """Lines of a word and its numbers; a word may hold spaces, its numbers stand last.

    A word that is no UTF-8 can be nobody's; how many there are is told.
    """
    size = header[1] if header else 0
    seen, foreign, asked = 0, 0, {word.encode() for word in wanted}
    for number, raw in enumerate(_bar(file), 2 if header else 1):
        line = raw.rstrip()
        if not line:
            continue
        seen += 1
        size = size or len(line.split()) - 1
        foreign += not _is_unicode(line)
        try:
            if seen == 1 or not _is_plain(line, size, asked):
                yield _parsed(line, size)
        except ValueError as error:
            raise InputError(f"{path}, line {number}: {error}") from error
    if foreign:
        log.warning("%s: %d of %d words are no UTF-8, and are left out", path, foreign, seen)
    if header and seen != header[0]:
        raise InputError(f"{path} holds {seen} words where its first line says {header[0]}")


def _bar(items: Iterable[T]) -> Iterable[T]:
    """The same, with a bar where it takes long."""
    bar: Iterable[T] = tqdm(items, desc="word vectors", unit="word", delay=2.0, leave=False,
                            disable=None)  # fmt: skip
    return bar


def _is_plain(line: bytes, size: int, asked: Collection[bytes]) -> bool:
    """Whether a line is none of ours and looks sound, at a fiftieth of the cost of reading it."""
    word, _, values = line.partition(b" ")
    sound = values.count(b" ") == size - 1 and not values.translate(None, NUMERIC)
    return sound and word not in asked


def _parsed(line: bytes, size: int) -> tuple[str, Floats]:
    """A line's word and numbers.

    Raises:
        ValueError: it is broken.
    """
    parts = line.rsplit(None, size) if size else [line]
    spaced = parts[0].split()
    if not size or len(parts) != size + 1 or (len(spaced) > 1 and _is_number(spaced[-1])):
        count = len(line.split()) - 1
        raise ValueError(f"{count} numbers where the file has {size or 'at least 1'}")
    wrong = [part for part in parts[1:] if not _is_number(part)]
    if wrong:
        raise ValueError(f"{wrong[0].decode(errors='replace')!r} is no number")
    vector = np.array(parts[1:], dtype=np.float64)
    if not np.isfinite(vector).all():
        raise ValueError("a number that is not finite")
    return parts[0].decode(errors="replace"), vector


def _is_unicode(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_number(word: bytes) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _binary(file: IO[bytes], count: int, size: int, path: Path, wanted: Collection[str]) -> Pairs:
    """Words that end at a space, each followed by its float32 values."""
    asked = {word.encode() for word in wanted}
    held, place = b"", 0
    for number in _bar(range(1, count + 1)):
        if len(held) - place < LONGEST + 4 * size:
            held, place = held[place:] + file.read(READ + 4 * size), 0
        space = held.find(b" ", place, place + LONGEST)
        stop = space + 1 + 4 * size
        if space < 0 or stop > len(held):
            raise InputError(f"{path} breaks off at word {number} of {count}")
        word = held[place:space].lstrip(b"\n")
        if word in asked or number == 1:
            vector = np.frombuffer(held[space + 1 : stop], dtype="<f4").astype(np.float64)
            if not np.isfinite(vector).all():
                raise InputError(f"{path}, word {number}: a number that is not finite")
            yield word.decode(errors="replace"), vector
        place = stop
    if (held[place:] + file.read(2)).strip():
        raise InputError(f"{path} holds more than the {count} words that its first line says")
