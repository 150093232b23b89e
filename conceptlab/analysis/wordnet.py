"""WordNet as a space of concepts: how near their synsets lie in its tree.

Fong & Vedaldi 2018, section 5.3, compare embeddings with WordNet. Path similarity, and Wu & Palmer
1994 (Verbs semantics and lexical selection).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conceptlab.analysis.embedding import ConceptSimilarities
from conceptlab.analysis.synsets import names_of, synset_table, unresolved, wordnet_reader
from conceptlab.errors import InputError

Floats = NDArray[np.float64]
MEASURES = ("path", "wup")


def wordnet(
    concepts: Any,
    measure: str = "path",
    *,
    folder: str | Path | None = None,
    synsets: Any = None,
) -> ConceptSimilarities:
    """How alike concepts are in WordNet's tree of nouns.

    'path' is 1 / (1 + d), d being the fewest steps from one synset to the other over a common
    hypernym. 'wup' is 2 depth(s) / (2 depth(s) + d(a, s) + d(b, s)), s being the deepest common
    hypernym; where the tree gives two answers for the two orders, the larger.

    Args:
        concepts: `ConceptVectors`, a table with columns name and category, or names.
        measure: 'path' or 'wup'.
        folder: of WordNet 3; else CONCEPTLAB_WORDNET, else where Debian puts it.
        synsets: which synset a name is: a table as `conceptlab.synset_table` makes, the path of
            its CSV, or name to synset; names that it leaves out are looked up.

    Returns:
        Similarities of all concepts, the diagonal 1. Those without a synset have rows of NaN and a
        note in `concepts`, and a warning in the log names them.

    Raises:
        InputError: an unknown measure, no WordNet, a synset that it does not have.
    """
    if measure not in MEASURES:
        raise InputError(f"measure is 'path' or 'wup'; got {measure!r}")
    table = _edited(synset_table(names_of(concepts), folder), synsets)
    reader = wordnet_reader(folder)
    known = table["synset"] != ""
    unresolved(table, ~known, "WordNet")
    found = [_noun(reader, name) for name in table["synset"][known]]
    similarity = np.full((len(table), len(table)), np.nan)
    places = np.flatnonzero(known)
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
    chosen = [choice.get(full, choice.get(n)) for full, n in zip(own, table["name"], strict=True)]
    said = pd.Series(chosen, table.index, dtype=object)
    return table.assign(
        synset=said.where(said.notna(), table["synset"]),
        note=table["note"].where(said.isna(), "as given"),
    )


def _choice(given: Any) -> dict[str, str]:
    """Name, or category/name, to synset."""
    if isinstance(given, Mapping):
        return {str(name): str(synset) for name, synset in given.items()}
    if not isinstance(given, pd.DataFrame):
        try:
            given = pd.read_csv(given, dtype=str, keep_default_na=False)
        except (OSError, ValueError) as error:
            raise InputError(f"cannot read the table of synsets {given} ({error})") from error
    if not {"name", "synset"} <= set(given.columns):
        raise InputError("a table of synsets has columns name and synset, and perhaps category")
    names = given["name"].astype(str)
    if "category" in given:
        names = given["category"].astype(str) + "/" + names
    return dict(zip(names, given["synset"].fillna("").astype(str), strict=True))


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
        every = {node for synset in synsets for node in _steps(synset)}
        nodes = sorted(every, key=lambda node: str(node.name()))
        place = {node: k for k, node in enumerate(nodes)}
        self.up = [{place[n]: count for n, count in _steps(node).items()} for node in nodes]
        self.own = [place[synset] for synset in synsets]
        self.least = np.array([node.min_depth() for node in nodes])
        self.depth = np.array([node.max_depth() + 1.0 for node in nodes])
        self.steps = np.full((len(nodes), len(synsets)), np.inf)  # up from each synset
        for column, own in enumerate(self.own):
            self.steps[list(self.up[own]), column] = list(self.up[own].values())

    def path(self) -> Floats:
        """(C, C) 1 / (1 + fewest steps)."""
        return 1 / (1 + np.stack([self._apart(own) for own in self.own]))

    def wup(self) -> Floats:
        """(C, C) by the deepest common hypernym, equal ones by name, the synset itself first."""
        shared = np.stack([self._deepest(column) for column in range(len(self.own))])
        used, codes = np.unique(shared, return_inverse=True)
        apart = np.stack([self._apart(node) for node in used])  # (used, C)
        codes = codes.reshape(shared.shape)
        columns = np.arange(len(self.own))
        depth = self.depth[shared]
        found = 2 * depth / (2 * depth + apart[codes, columns[:, None]] + apart[codes, columns])
        larger: Floats = np.maximum(found, found.T)
        return larger

    def _apart(self, node: int) -> Floats:
        """(C,) fewest steps from a node to each synset, over any common hypernym."""
        up = self.up[node]
        apart: Floats = (self.steps[list(up)] + np.array(list(up.values()))[:, None]).min(axis=0)
        return apart

    def _deepest(self, column: int) -> NDArray[np.int64]:
        """(C,) the deepest common hypernym of one synset and each."""
        own = self.own[column]
        common = np.array(list(self.up[own]))
        common = common[np.lexsort((common, common != own, -self.least[common]))]
        found: NDArray[np.int64] = common[np.isfinite(self.steps[common]).argmax(axis=0)]
        return found


def _steps(synset: Any) -> dict[Any, int]:
    """A synset and all its hypernyms, with the fewest steps up to each."""
    found, level, count = {synset: 0}, [synset], 0
    while level:
        count += 1
        nodes = [up for node in level for up in node.hypernyms() + node.instance_hypernyms()]
        level = [node for node in dict.fromkeys(nodes) if node not in found]
        found |= dict.fromkeys(level, count)
    return found
