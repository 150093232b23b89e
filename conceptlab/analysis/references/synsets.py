"""Which WordNet synset a concept's name stands for, and a local WordNet to look in.

Fellbaum 1998, WordNet. Read through nltk, from the files as Princeton publishes them.
"""

import io
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from conceptlab.analysis.references.concept_names import names_of, words_of
from conceptlab.errors import InputError
from conceptlab.given import checked

FOLDER = "/usr/share/wordnet"  # where Debian's wordnet-base has it
NEEDED = ("data.noun", "index.noun", "noun.exc")
MOST = 8  # candidates that a table lists

#: The lexicographer files of WordNet 3, in their order; its database does not name them.
LEXNAMES = (
    "adj.all adj.pert adv.all noun.Tops noun.act noun.animal noun.artifact noun.attribute "
    "noun.body noun.cognition noun.communication noun.event noun.feeling noun.food noun.group "
    "noun.location noun.motive noun.object noun.person noun.phenomenon noun.plant "
    "noun.possession noun.process noun.quantity noun.relation noun.shape noun.state "
    "noun.substance noun.time verb.body verb.change verb.cognition verb.communication "
    "verb.competition verb.consumption verb.contact verb.creation verb.emotion verb.motion "
    "verb.perception verb.possession verb.social verb.stative verb.weather adj.ppl"
).split()

#: What each kind of sense costs a category's name, in places down WordNet's list of its senses
#: (which begins with the usual one): nothing for the first group, `RARER` for the second.
SENSES = {
    "color": ("attribute", ""),
    "material": ("substance", "artifact plant animal body food object"),
    "scene": ("artifact location object", "Tops group"),
    "texture": ("attribute shape", "artifact"),
    "object": (
        "artifact animal plant object person food body",
        "substance phenomenon location",
    ),
    "part": (
        "body artifact animal plant object location",
        "person food substance phenomenon shape",
    ),
}
RARER = 2
TOP = -2  # 'person', 'plant', 'food' themselves stand with the beginnings of the tree, noun.Tops
UNFIT = 100  # more than any name has senses
PROPER = 200  # Crane the writer is no crane


@checked
def synset_table(concepts: Any, folder: str | Path | None = None) -> pd.DataFrame:
    """The noun synset of every concept, as a table that can be saved, edited and given back.

    A name is looked up as a whole (plural forms too, and with its words joined), then by its last
    words, then by its first ones. Of its senses, one of a kind that suits the category is taken,
    the usual one if it does, and a proper name only if there is nothing else.

    Args:
        concepts: `ConceptVectors`, a table with columns name and category, or names.
        folder: of WordNet 3; else CONCEPTLAB_WORDNET, else where Debian puts it.

    Returns:
        Columns name, category, synset (such as 'dog.n.01'; empty: none found), candidates (others
        that the name may mean, with spaces between), note.

    Raises:
        InputError: no WordNet there, a damaged one, or no nltk.
    """
    table = names_of(concepts)
    reader = wordnet_reader(folder)
    with intact(reader):
        found = [
            _look_up(reader, name, category)
            for name, category in zip(table["name"], table["category"], strict=True)
        ]
    return table.join(pd.DataFrame(found, columns=["synset", "candidates", "note"]))


def wordnet_reader(folder: str | Path | None = None) -> Any:
    """Nltk's reader of a local WordNet.

    Args:
        folder: see `synset_table`.

    Raises:
        InputError: no WordNet there, a damaged one, or no nltk.
    """
    place = Path(folder or os.environ.get("CONCEPTLAB_WORDNET") or FOLDER)
    missing = [name for name in NEEDED if not (place / name).is_file()]
    if missing:
        raise InputError(
            f"no WordNet in {place} ({missing[0]} is missing): apt install wordnet-base, or name a "
            "folder of WordNet 3 database files by CONCEPTLAB_WORDNET"
        )
    try:
        return _reader(place.resolve())
    except ImportError as error:
        raise InputError("nltk is not installed: pip install 'conceptlab[wordnet]'") from error
    except Exception as error:  # whatever a damaged file makes of nltk
        raise InputError(f"the WordNet in {place} cannot be read ({error})") from error


@contextmanager
def intact(reader: Any) -> Iterator[None]:
    """What a damaged file makes of nltk, which reads synsets when they are asked for, in words.

    Args:
        reader: from `wordnet_reader`.

    Raises:
        InputError: a file does not hold what its index says.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "No WordNet synset found")
            yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"the WordNet in {reader.place} is damaged ({error})") from error


@lru_cache(maxsize=2)
def _reader(folder: Path) -> Any:
    from nltk.corpus.reader.wordnet import WordNetCorpusReader
    from nltk.data import PathPointer

    class Place(PathPointer):  # type: ignore[misc]  # nltk has no types
        """The folder; nltk's own pointers take only folders that its path guard knows.

        Reader opens all files itself, so that none is asked of this: what is abstract raises.
        """

        def open(self, encoding: str | None = None) -> Any:
            raise NotImplementedError  # abstract in nltk, and never called: see above

        def file_size(self) -> int:
            raise NotImplementedError

        def join(self, fileid: str) -> Any:
            raise NotImplementedError

    class Reader(WordNetCorpusReader):  # type: ignore[misc]
        """Reads files of one folder only, and brings the file that the database lacks."""

        place = folder

        def open(self, file: str) -> Any:
            if file == "lexnames":
                return io.StringIO("".join(f"{i} {n} 0\n" for i, n in enumerate(LEXNAMES)))
            path = folder / Path(file).name
            if not path.is_file() and file not in NEEDED:
                return io.StringIO("")  # parts of speech that nothing here asks for
            # nltk keeps some files open for ever: it gets their bytes
            return io.TextIOWrapper(io.BytesIO(path.read_bytes()), encoding="utf-8")

        def map_wn(self, version: str = "wordnet") -> None:
            """Other versions of WordNet are not needed."""

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of other languages than English
        return Reader(Place(), None)


def _look_up(reader: Any, name: str, category: str) -> tuple[str, str, str]:
    """The synset of a name, others that it may mean, and a remark."""
    for text, note in _spellings(name):
        senses = reader.synsets(text, "n")
        if senses:
            costs = [place + _cost(sense, category) for place, sense in enumerate(senses)]
            best = costs.index(min(costs))
            others = [sense.name() for sense in senses if sense != senses[best]][:MOST]
            if _kind_cost(senses[best], category) == UNFIT:
                note = "; ".join(filter(None, [note, f"no sense that suits a {category}"]))
            return senses[best].name(), " ".join(others), note
    return "", "", "not in WordNet"


def _cost(sense: Any, category: str) -> int:
    proper = all(lemma[:1].isupper() for lemma in sense.lemma_names())
    return _kind_cost(sense, category) + PROPER * proper


def _kind_cost(sense: Any, category: str) -> int:
    """What a sense's kind costs; a category of the data set's own has no likely kinds."""
    kind = sense.lexname().removeprefix("noun.")
    first, second = SENSES.get(category.lower(), ("", ""))
    if kind in first.split():
        return 0
    if kind in second.split():
        return RARER
    if kind == "Tops" and category.lower() not in ("color", "texture"):
        return TOP
    return UNFIT if first else 0


def _spellings(name: str) -> Iterator[tuple[str, str]]:
    """How a name may be written in WordNet, the likelier first, with a remark.

    >>> [text for text, _ in _spellings("street light-c")]
    ['street_light', 'streetlight', 'street-light', 'light', 'street']
    >>> [(text, note) for text, note in _spellings("VegetationMisc")][-1]
    ('vegetation', "by its first word, 'vegetation'")
    """
    words = [word.lower() for word in words_of(name)]
    yield from ((text, "") for text in _joined(words))
    parts = [("last", words[start:]) for start in range(1, len(words))]
    parts += [("first", words[:stop]) for stop in range(len(words) - 1, 0, -1)]
    for end, part in parts:
        note = f"by its {end} word{'s' * (len(part) > 1)}, {' '.join(part)!r}"
        yield from ((text, note) for text in _joined(part))


def _joined(words: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(sign.join(words) for sign in ("_", "", "-")))
