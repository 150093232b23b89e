"""Word and sentence vectors as a space of concepts.

Fong & Vedaldi 2018, section 5.3, compare embeddings with word2vec (Mikolov et al. 2013).
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conceptlab.analysis.references.concept_names import names_of, unresolved, words_of
from conceptlab.analysis.references.word_files import read_words
from conceptlab.errors import InputError
from conceptlab.given import checked
from conceptlab.keys import digest_chunks
from conceptlab.space import Space
from conceptlab.vectors import ConceptVectors, unit_rows

Floats = NDArray[np.float64]
Encoder = Callable[[list[str]], Any]
MISSING = "not in the file"
SAMPLE = ["the quick brown fox", "a street at night"]  # what an encoder says tells it from others


@checked
def word_vectors(file: str | Path, concepts: Any) -> ConceptVectors:
    """Vectors of concepts' names from a file of word vectors, read in a stream.

    A name is looked up as it stands, with its words joined by '_' or '-', in lower case, and else
    as the mean of its words at unit length (so that no word outweighs another).

    Args:
        file: word2vec's text or binary format, or GloVe's; packed by gzip or not.
        concepts: `ConceptVectors`, a table with columns name and category, or names.

    Returns:
        Vectors of kind 'words'; `concepts` has columns name, category, note. A concept that the
        file does not know has a vector of zeros, and a warning in the log names it.

    Raises:
        InputError: no such file, or one with a broken line; the message says which line.
    """
    path = Path(file)
    table = names_of(concepts)
    spellings = [_spellings(name) for name in table["name"]]
    parts = [words_of(name) for name in table["name"]]
    wanted = {text for texts in spellings for text in texts}
    wanted |= {text for words in parts for word in words for text in (word, word.lower())}
    found, size, mark = read_words(path, wanted)
    rows, notes = np.zeros((len(table), size)), []
    for row, (texts, words) in enumerate(zip(spellings, parts, strict=True)):
        rows[row], note = _vector(found, texts, words, size)
        notes.append(note)
    table = table.assign(note=notes)
    unresolved(table, table["note"] == MISSING, path.name)
    space = Space(path.name, mark, "words", size, "raw")
    return ConceptVectors(rows, np.zeros(len(table)), table, "words", space)


def _spellings(name: str) -> list[str]:
    """How a whole name may be written, the likelier first."""
    words = words_of(name)
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
    vectors = [vector for vector in known if vector is not None]
    if not words or len(vectors) < len(words):
        return np.zeros(size), MISSING
    mean: Floats = unit_rows(np.stack(vectors)).mean(axis=0)
    return mean, "mean of its words"


@checked
def sentence_vectors(
    concepts: Any, encoder: str | Path | Encoder = "all-MiniLM-L6-v2", template: str = "{}"
) -> ConceptVectors:
    """Vectors of concepts' names from a sentence encoder.

    Args:
        concepts: see `word_vectors`.
        encoder: name or folder of a model for sentence-transformers (extra `text`; a name may be
            fetched from the network), or a function from texts to an array (n, K).
        template: of the texts, such as 'a photo of a {}'.

    Returns:
        Vectors of kind 'words', whose space is told apart by what the encoder makes of two fixed
        texts.

    Raises:
        InputError: the model cannot be had, or returns something else than a vector per text.
    """
    if "{}" not in template:
        raise InputError(f"a template has {{}} where the name stands; got {template!r}")
    table = names_of(concepts)
    texts = [template.replace("{}", " ".join(words_of(name))) for name in table["name"]]
    if isinstance(encoder, str | Path):
        title, encode = str(encoder), _loaded(str(encoder))
    else:
        title, encode = getattr(encoder, "__name__", type(encoder).__name__), encoder
    rows = _encoded(encode, texts, title)
    mark = digest_chunks([_encoded(encode, SAMPLE, title).tobytes()])
    space = Space(Path(title).name, mark, "sentences", rows.shape[1], "raw")
    return ConceptVectors(rows, np.zeros(len(rows)), table, "words", space)


def _encoded(encode: Encoder, texts: list[str], title: str) -> Floats:
    made = encode(texts)
    try:
        rows = np.asarray(made, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{title} gave no vector per text ({error})") from error
    if rows.ndim != 2 or len(rows) != len(texts) or not rows.size or not np.isfinite(rows).all():
        raise InputError(
            f"{title} gave no vector of finite numbers per text; for {len(texts)} texts its answer "
            f"has shape {rows.shape}"
        )
    return rows


def _loaded(name: str) -> Encoder:
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
    return lambda texts: model.encode(texts, show_progress_bar=False)
