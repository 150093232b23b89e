"""Word and sentence vectors as a space of concepts.

Fong & Vedaldi 2018, section 5.3, compare embeddings with word2vec (Mikolov et al. 2013). Files of
word2vec (text and binary) and of GloVe (Pennington, Socher & Manning 2014), packed by gzip or not.
"""

import gzip
import hashlib
import io
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from conceptlab.analysis.synsets import names_of, unresolved
from conceptlab.errors import InputError
from conceptlab.vectors import ConceptVectors, Space

Floats = NDArray[np.float64]
Pairs = Iterator[tuple[str, Floats]]
T = TypeVar("T")
Encoder = Callable[[list[str]], Any]
PEEK = 1 << 16  # bytes that tell the format
LONGEST = 4096  # bytes of a word
READ = 1 << 20  # bytes at a time
MISSING = "not in the file"


def word_vectors(file: str | Path, concepts: Any) -> ConceptVectors:
    """Vectors of concepts' names from a file of word vectors, read in a stream.

    A name is looked up as it stands, with its words joined by '_' or '-', in lower case, and else
    as the mean of its words at unit length.

    Args:
        file: word2vec's text or binary format, or GloVe's; packed by gzip or not.
        concepts: `ConceptVectors`, a table with columns name and category, or names.

    Returns:
        Vectors of kind 'words'. A concept that the file does not know has a vector of zeros and a
        note in `concepts`, and a warning in the log names it.

    Raises:
        InputError: no such file, or one with a broken line; the message says which line.
    """
    path = Path(file)
    table = names_of(concepts)
    spellings = [_spellings(name) for name in table["name"]]
    parts = [_words(name) for name in table["name"]]
    wanted = {text for texts in spellings for text in texts}
    wanted |= {text for words in parts for word in words for text in (word, word.lower())}
    found, size, mark = _read(path, wanted)
    rows, notes = np.zeros((len(table), size)), []
    for row, (texts, words) in enumerate(zip(spellings, parts, strict=True)):
        rows[row], note = _vector(found, texts, words, size)
        notes.append(note)
    table = table.assign(note=notes)
    unresolved(table, table["note"] == MISSING, path.name)
    space = Space(path.name, mark, "words", size, "raw")
    return ConceptVectors(rows, np.zeros(len(table)), table, "words", space)


def sentence_vectors(
    concepts: Any, encoder: str | Encoder = "all-MiniLM-L6-v2", template: str = "{}"
) -> ConceptVectors:
    """Vectors of concepts' names from a sentence encoder.

    Args:
        concepts: see `word_vectors`.
        encoder: name or folder of a model for sentence-transformers (extra `text`; a name may be
            fetched from the network), or a function from texts to an array (n, K).
        template: of the texts, such as 'a photo of a {}'.

    Raises:
        InputError: the model cannot be had, or returns something else than a vector per text.
    """
    table = names_of(concepts)
    texts = [template.format(" ".join(_words(name))) for name in table["name"]]
    if isinstance(encoder, str):
        title, made = encoder, _encoded(encoder, texts)
    else:
        title, made = getattr(encoder, "__name__", "encoder"), encoder(texts)
    rows = np.asarray(made, dtype=np.float64)
    if rows.ndim != 2 or len(rows) != len(texts) or not np.isfinite(rows).all():
        raise InputError(f"{title} gave no vector per text; its answer has shape {rows.shape}")
    space = Space(Path(title).name, title, "sentences", rows.shape[1], "raw")
    return ConceptVectors(rows, np.zeros(len(rows)), table, "words", space)


def _encoded(name: str, texts: list[str]) -> Any:
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise InputError(
            "sentence-transformers is not installed: pip install 'conceptlab[text]'"
        ) from error
    try:
        model = SentenceTransformer(name, device="cpu")
    except Exception as error:  # its ways to fail are many: network, files, formats
        raise InputError(
            f"the sentence encoder {name!r} cannot be loaded "
            f"({' '.join(str(error).split())[:200]}); give the folder of one"
        ) from error
    return model.encode(texts, show_progress_bar=False)


def _words(name: str) -> list[str]:
    """The words of a name.

    >>> _words("SignSymbol"), _words("street light-c")
    (['Sign', 'Symbol'], ['street', 'light'])
    """
    plain = re.sub(r"-[cstm]$", "", name.strip())  # Broden's mark of a category
    plain = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", plain)
    return [word for word in re.split(r"[\s_/-]+", plain) if word]


def _spellings(name: str) -> list[str]:
    """How a whole name may be written, the likelier first."""
    words = _words(name)
    whole = [name, *(sign.join(words) for sign in ("_", "-", " ", ""))]
    return list(dict.fromkeys([*whole, *(text.lower() for text in whole)]))


def _vector(
    found: dict[str, Floats], spellings: Sequence[str], words: Sequence[str], size: int
) -> tuple[Floats, str]:
    """A name's vector, and a remark."""
    for text in spellings:
        if text in found:
            return found[text], "" if text == spellings[0] else f"as {text!r}"
    known = [found.get(word, found.get(word.lower())) for word in words]
    if not words or any(vector is None for vector in known):
        return np.zeros(size), MISSING
    units = [v / max(float(np.linalg.norm(v)), 1e-30) for v in known if v is not None]
    return np.mean(units, axis=0), "mean of its words"


def _read(path: Path, wanted: Collection[str]) -> tuple[dict[str, Floats], int, str]:
    """The vectors of some words, their length, and what identifies the file."""
    mark = hashlib.sha256()
    found: dict[str, Floats] = {}
    size = 0
    try:
        with _opened(path) as file:
            start = file.peek(PEEK)[:PEEK]
            mark.update(start)
            for word, vector in _pairs(file, start, path, wanted):
                size = len(vector)
                found.setdefault(word, vector)
    except (OSError, EOFError) as error:
        raise InputError(f"cannot read the word vectors {path} ({error})") from error
    if not size:
        raise InputError(f"{path} holds no word vectors")
    mark.update(str(path.stat().st_size).encode())
    return found, size, mark.hexdigest()


def _opened(path: Path) -> io.BufferedReader:
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    if packed:
        return io.BufferedReader(cast(Any, gzip.open(path, "rb")), PEEK)
    return cast(io.BufferedReader, path.open("rb", PEEK))


def _pairs(file: io.BufferedReader, start: bytes, path: Path, wanted: Collection[str]) -> Pairs:
    """Wanted words with their vectors, and the first word's in any case, for its length."""
    first = start.split(b"\n", 1)[0].split()
    header = len(first) == 2 and all(part.isdigit() for part in first)
    if not header:
        return _text(file, None, path, wanted)
    count, size = (int(part) for part in first)
    if not count or not 0 < size < 100_000:
        raise InputError(f"{path}, line 1: {count} words of {size} numbers make no sense")
    body = start.split(b"\n", 1)[1]
    file.readline()
    if _is_text(body, size):
        return _text(file, (count, size), path, wanted)
    return _binary(file, count, size, path, wanted)


def _is_text(body: bytes, size: int) -> bool:
    """Whether what follows a header of word2vec is text."""
    line = body.split(b"\n", 1)[0]
    try:
        [float(value) for value in line.decode("utf-8").rstrip().rsplit(" ", size)[1:]]
    except ValueError:
        return False
    return True


def _text(
    file: IO[bytes], header: tuple[int, int] | None, path: Path, wanted: Collection[str]
) -> Pairs:
    """Lines of a word and its numbers; a word may hold spaces, its numbers stand last."""
    size = header[1] if header else 0
    seen, asked = 0, {word.encode() for word in wanted}
    for number, raw in enumerate(_bar(file), 2 if header else 1):
        line = raw.rstrip()
        if not line:
            continue
        seen += 1
        size = size or len(line.split()) - 1
        word = line.split(b" ", 1)[0]
        if seen > 1 and line.count(b" ") == size and word not in asked:
            continue  # none of ours, and of the right length
        try:
            yield _parsed(line, size)
        except ValueError as error:
            raise InputError(f"{path}, line {number}: {_reason(error)}") from error
    if header and seen != header[0]:
        raise InputError(f"{path} holds {seen} words where its first line says {header[0]}")


def _bar(items: Iterable[T]) -> Iterable[T]:
    """The same, with a bar where it takes long."""
    bar: Iterable[T] = tqdm(items, desc="word vectors", unit="word", delay=2.0, leave=False,
                            disable=None)  # fmt: skip
    return bar


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
    vector = np.array([float(value) for value in parts[1:]])
    if not np.isfinite(vector).all():
        raise ValueError("a number that is not finite")
    return parts[0].decode("utf-8"), vector


def _is_number(word: bytes) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _reason(error: ValueError) -> str:
    return "a word that is no UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)


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
            yield word.decode("utf-8", errors="replace"), vector
        place = stop
    if (held[place:] + file.read(2)).strip():
        raise InputError(f"{path} holds more than the {count} words that its first line says")
