"""WordNet as a space of concepts: how near their synsets lie in its tree.

Fong & Vedaldi 2018, section 5.3, compare embeddings with WordNet. Path similarity, and Wu & Palmer
1994 (Verbs semantics and lexical selection).
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conceptlab.analysis.comparison.items import ConceptSimilarities
from conceptlab.analysis.references.concept_names import names_of, unresolved
from conceptlab.analysis.references.synsets import intact, synset_table, wordnet_reader
from conceptlab.csvtable import read_table
from conceptlab.errors import InputError
from conceptlab.given import checked

Floats = NDArray[np.float64]
Shorts = NDArray[np.int16]
MEASURES = ("path", "wup")
FAR = 10_000  # steps to what is no hypernym
NAMED = 8  # names in a message

log = logging.getLogger(__name__)


@checked
def wordnet(
    concepts: Any,
    measure: str = "path",
    *,
    folder: str | Path | None = None,
    synsets: Any = None,
) -> ConceptSimilarities:
    """How alike concepts are in WordNet's tree of nouns.

    'path' is 1 / (1 + d), d being the fewest steps from one synset to the other over a common
    hypernym. 'wup' is 2 depth(s) / (2 depth(s) + d(a, s) + d(b, s)), as nltk defines it: s is the
    common hypernym whose shortest way to the root is longest, depth(s) counts the nodes of its
    longest way, and the root of the nouns needs no simulated one above it. In two points nltk's is
    no similarity and is mended: where its answer hangs on the order of a and b, the larger counts,
    and a synset is 1 to itself (nltk says 0.86 for 'person.n.01').

    Args:
        concepts: `ConceptVectors`, a table with columns name and category, or names.
        measure: 'path' or 'wup'.
        folder: of WordNet 3; else CONCEPTLAB_WORDNET, else where Debian puts it.
        synsets: which synset a name is: a table as `conceptlab.synset_table` makes, the path of
            its CSV, or name (also category/name) to synset; names that it leaves out are looked
            up, and the log says which of its names are no concepts here.

    Returns:
        Similarities of all concepts, the diagonal 1; `concepts` has columns name, category, synset,
        note. Those without a synset have rows of NaN, and a warning in the log names them.

    Raises:
        InputError: an unknown measure, no WordNet or a damaged one, no nltk, a table that cannot be
            read, a synset that WordNet does not have.
    """
    if measure not in MEASURES:
        raise InputError(f"measure is 'path' or 'wup'; got {measure!r}")
    table = _edited(synset_table(names_of(concepts), folder), synsets)
    reader = wordnet_reader(folder)
    known = table["synset"] != ""
    unresolved(table, ~known, "WordNet")
    similarity = np.full((len(table), len(table)), np.nan)
    places = np.flatnonzero(known)
    with intact(reader):
        found = [_noun(reader, name) for name in table["synset"][known]]
        if len(places):
            tree = _Tree(found)
            similarity[np.ix_(places, places)] = tree.path() if measure == "path" else tree.wup()
    columns = ["name", "category", "synset", "note"]
    return ConceptSimilarities(similarity, table[columns], f"WordNet ({measure})")


def _edited(table: pd.DataFrame, given: Any) -> pd.DataFrame:
    """The table of synsets with the user's choices in place of ours."""
    if given is None:
        return table
    choice = _choice(given)
    own = table["category"] + "/" + table["name"]
    idle = [name for name in choice if not (own.eq(name) | table["name"].eq(name)).any()]
    if idle:
        log.warning(
            "the table of synsets names %s%s, which are no concepts here",
            ", ".join(idle[:NAMED]), " and others" if len(idle) > NAMED else "",
        )  # fmt: skip
    chosen = [choice.get(full, choice.get(n)) for full, n in zip(own, table["name"], strict=True)]
    said = pd.Series(chosen, table.index, dtype=object)
    said = said.where(said.notna(), table["synset"])
    return table.assign(synset=said, note=table["note"].where(said == table["synset"], "as given"))


def _choice(given: Any) -> dict[str, str]:
    """Name, or category/name where there is a category, to synset."""
    if isinstance(given, Mapping):
        given = pd.DataFrame({"name": list(given), "synset": list(given.values())}, dtype=object)
    elif isinstance(given, str | Path):
        try:
            given = read_table(given, texts=True)
        except (OSError, ValueError) as error:
            raise InputError(f"cannot read the table of synsets {given} ({error})") from error
    if not isinstance(given, pd.DataFrame) or not {"name", "synset"} <= set(given.columns):
        raise InputError(
            "synsets are a table with columns name and synset, and perhaps category; the path of "
            "its CSV; or name to synset"
        )
    names = given["name"].astype(str)
    if "category" in given:
        category = given["category"].astype(object).where(given["category"].notna(), "").astype(str)
        names = names.where(category == "", category + "/" + names)
    synsets = given["synset"].astype(object).where(given["synset"].notna(), "").astype(str)
    return dict(zip(names, synsets.str.strip(), strict=True))


def _noun(reader: Any, name: str) -> Any:
    """The synset of a name.

    Raises:
        InputError: none of that name, or no noun.
    """
    from nltk.corpus.reader.wordnet import WordNetError

    try:
        synset = reader.synset(name)
    except (WordNetError, ValueError, KeyError) as error:
        raise InputError(f"WordNet has no synset {name!r}; write it as in 'dog.n.01'") from error
    if synset.pos() != "n":
        raise InputError(f"{name!r} is no noun, and only nouns hang in one tree")
    return synset


class _Tree:
    """Synsets of nouns and all their hypernyms.

    Args:
        synsets: (C,) of the concepts.
    """

    def __init__(self, synsets: list[Any]) -> None:
        steps: dict[Any, dict[Any, int]] = {}
        for synset in synsets:
            _climb(synset, steps)
        nodes = sorted(steps, key=lambda node: str(node.name()))
        place = {node: k for k, node in enumerate(nodes)}
        self.up = [{place[n]: count for n, count in steps[node].items()} for node in nodes]
        self.own = np.array([place[synset] for synset in synsets])
        self.least = np.array([node.min_depth() for node in nodes])
        self.depth = np.array([node.max_depth() + 1.0 for node in nodes])
        self.steps = np.full((len(nodes), len(synsets)), FAR, dtype=np.int16)  # up from each synset
        for column, own in enumerate(self.own):
            self.steps[list(self.up[own]), column] = list(self.up[own].values())

    def path(self) -> Floats:
        """(C, C) 1 / (1 + fewest steps)."""
        found = np.empty((len(self.own), len(self.own)))
        for row, own in enumerate(self.own):
            found[row] = 1 / (1 + self._apart(own))
        return found

    def wup(self) -> Floats:
        """(C, C) by the deepest common hypernym, equal ones by name, the synset itself first."""
        count = len(self.own)
        found = np.empty((count, count))
        apart: dict[int, Shorts] = {}  # hypernym -> (C,) steps from it
        for row in range(count):
            used, code = np.unique(self._deepest(row), return_inverse=True)
            for node in set(used) - set(apart):
                apart[node] = self._apart(node)
            steps = np.stack([apart[node] for node in used])  # (used, C)
            twice = 2 * self.depth[used[code]]
            found[row] = twice / (twice + steps[code, row] + steps[code, np.arange(count)])
            found[row, self.own == self.own[row]] = 1
        return np.maximum(found, found.T, out=found)

    def _apart(self, node: int) -> Shorts:
        """(C,) fewest steps from a node to each synset, over any common hypernym."""
        up = self.up[node]
        counts = np.array(list(up.values()), dtype=np.int16)
        apart: Shorts = (self.steps[list(up)] + counts[:, None]).min(axis=0)
        return apart

    def _deepest(self, column: int) -> NDArray[np.int64]:
        """(C,) the deepest common hypernym of one synset and each."""
        own = self.own[column]
        common = np.array(list(self.up[own]))
        common = common[np.lexsort((common, common != own, -self.least[common]))]
        found: NDArray[np.int64] = common[(self.steps[common] < FAR).argmax(axis=0)]
        return found


def _climb(synset: Any, steps: dict[Any, dict[Any, int]]) -> dict[Any, int]:
    """A synset and all its hypernyms, with the fewest steps up to each; also of these, in steps."""
    if synset not in steps:
        found = {synset: 0}
        for above in synset.hypernyms() + synset.instance_hypernyms():
            for node, count in _climb(above, steps).items():
                found[node] = min(found.get(node, FAR), count + 1)
        steps[synset] = found
    return steps[synset]
