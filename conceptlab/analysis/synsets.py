"""Which WordNet synset a concept's name stands for, and a local WordNet to look in.

Fellbaum 1998, WordNet. Read through nltk, from the files as Princeton publishes them.
"""

import io
import logging
import os
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from conceptlab.errors import InputError
from conceptlab.vectors import qualified_names

log = logging.getLogger(__name__)

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

_THINGS = (
    "artifact", "animal", "plant", "object", "person", "food", "body", "phenomenon", "location",
)  # fmt: skip
#: Which senses a category's names have, the likelier first.
SENSES = {
    "color": ("attribute",),
    "material": ("substance", "artifact", "plant", "animal"),
    "scene": ("artifact", "location", "object"),
    "texture": ("attribute", "shape", "artifact"),
    "object": _THINGS,
    "part": ("body", "plant", "animal", *_THINGS, "shape", "communication"),
}


def synset_table(concepts: Any, folder: str | Path | None = None) -> pd.DataFrame:
    """The noun synset of every concept, as a table that can be saved, edited and given back.

    A name is looked up as a whole (plural forms too, and with its words joined), then by its last
    word; among its senses the first of a kind that fits the category is taken.

    Args:
        concepts: `ConceptVectors`, a table with columns name and category, or names.
        folder: of WordNet 3; else CONCEPTLAB_WORDNET, else where Debian puts it.

    Returns:
        Columns name, category, synset (such as 'dog.n.01'; empty: none found), candidates (others
        that the name may mean), note.

    Raises:
        InputError: no WordNet there, or no nltk.
    """
    reader = wordnet_reader(folder)
    table = names_of(concepts)
    rows = []
    for name, category in zip(table["name"], table["category"], strict=True):
        chosen, found, note = _look_up(reader, name, category)
        rows.append(
            {"name": name, "category": category, "synset": chosen,
             "candidates": " ".join(s for s in found if s != chosen), "note": note}
        )  # fmt: skip
    return pd.DataFrame(rows, columns=["name", "category", "synset", "candidates", "note"])


def names_of(concepts: Any) -> pd.DataFrame:
    """Columns name and category of vectors, of a table, or of names alone.

    Raises:
        InputError: none of these, or no names.
    """
    table = getattr(concepts, "concepts", concepts)
    if isinstance(table, pd.DataFrame):
        if "name" not in table:
            raise InputError("a table of concepts has columns name and category")
        category = table["category"] if "category" in table else pd.Series("", table.index)
        table = pd.DataFrame({"name": table["name"].astype(str), "category": category.astype(str)})
    elif isinstance(table, Sequence) and not isinstance(table, str):
        table = pd.DataFrame({"name": [str(name) for name in table], "category": ""})
    else:
        raise InputError("concepts are vectors, a table with columns name and category, or names")
    if not len(table):
        raise InputError("there are no concepts to look up")
    return table.reset_index(drop=True)


def unresolved(table: pd.DataFrame, missing: "pd.Series[bool]", source: str) -> None:
    """Say in the log which concepts a reference does not know.

    Args:
        table: columns name, category.
        missing: which rows.
        source: what does not know them.
    """
    if missing.any():
        names = [n for n, gone in zip(qualified_names(table), missing, strict=True) if gone]
        log.warning("%s does not know %s", source, ", ".join(names))


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
            f"no WordNet in {place} ({missing[0]} is missing): install Debian's wordnet-base, or "
            "name a folder of WordNet 3 database files by CONCEPTLAB_WORDNET"
        )
    try:
        return _reader(place.resolve())
    except ImportError as error:
        raise InputError("nltk is not installed: pip install 'conceptlab[wordnet]'") from error
    except Exception as error:  # whatever a damaged file makes of nltk
        raise InputError(f"the WordNet in {place} cannot be read ({error})") from error


@lru_cache(maxsize=2)
def _reader(folder: Path) -> Any:
    import warnings

    from nltk.corpus.reader.wordnet import WordNetCorpusReader
    from nltk.data import PathPointer

    class Place(PathPointer):  # type: ignore[misc]
        """The folder; nltk's own pointers take only folders that its path guard knows."""

        def open(self, encoding: str | None = None) -> Any:
            raise NotImplementedError

        def file_size(self) -> int:
            raise NotImplementedError

        def join(self, fileid: str) -> Any:
            raise NotImplementedError

    class Reader(WordNetCorpusReader):  # type: ignore[misc]
        """Reads files of one folder only, and brings the file that the database lacks."""

        def open(self, file: str) -> Any:
            if file == "lexnames":
                return io.StringIO("".join(f"{i} {n} 0\n" for i, n in enumerate(LEXNAMES)))
            path = folder / Path(file).name
            if not path.is_file() and file not in NEEDED:
                return io.StringIO("")  # parts of speech that nothing here asks for
            return path.open(encoding="utf-8")

        def map_wn(self, version: str = "wordnet") -> None:
            """Other versions of WordNet are not needed."""

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of other languages than English
        return Reader(Place(), None)


def _look_up(reader: Any, name: str, category: str) -> tuple[str, list[str], str]:
    """The synset of a name, all that were looked at, and a remark."""
    kinds = [f"noun.{kind}" for kind in SENSES.get(category, ())]
    for text, note in _spellings(name):
        senses = reader.synsets(text, "n")
        if senses:
            fits = [s for s in senses if s.lexname() in kinds]
            chosen = fits[0] if fits else senses[0]
            if kinds and not fits:
                note = "; ".join(filter(None, [note, f"no sense that suits a {category}"]))
            return chosen.name(), [s.name() for s in senses[:MOST]], note
    return "", [], "not in WordNet"


def _spellings(name: str) -> Iterator[tuple[str, str]]:
    """How a name may be written in WordNet, the likelier first, with a remark.

    >>> [text for text, _ in _spellings("street light-c")]
    ['street_light', 'streetlight', 'street-light', 'light']
    >>> [text for text, _ in _spellings("SignSymbol")]
    ['sign_symbol', 'signsymbol', 'sign-symbol', 'symbol']
    """
    plain = re.sub(r"-[cstm]$", "", name.strip())  # Broden's mark of a category
    plain = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", plain)
    words = [word for word in re.split(r"[\s_/-]+", plain.lower()) if word]
    tried = dict.fromkeys(sign.join(words) for sign in ("_", "", "-"))
    for text in tried:
        yield text, ""
    if len(words) > 1:
        yield words[-1], f"by its last word, {words[-1]!r}"
