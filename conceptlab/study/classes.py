"""Which pictures stand for a class: those that show it, a folder's, or those put into it."""

import logging
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from conceptlab.activations.labels import label_store
from conceptlab.activations.pictures import DatasetPictures, batches, folder_pictures
from conceptlab.errors import InputError
from conceptlab.models.outputs import class_columns, class_name
from conceptlab.vectors import index_of

if TYPE_CHECKING:
    from conceptlab.activations.pictures import Pictures
    from conceptlab.activations.store import Activations
    from conceptlab.data.base import ProbeDataset
    from conceptlab.models.outputs import Output
    from conceptlab.models.probed import ProbedModel

log = logging.getLogger(__name__)

AUTOMATIC = "*"
MOST = 5  # classes chosen by themselves
FEWEST = 2  # pictures of one


class ClassPictures:
    """Finds the pictures of classes in a data set.

    Args:
        model: the network.
        data: where to look.
        activations: of any of its layers over the data set.
        limit: pictures of a class at most, evenly spaced.
        output: where the scores are in what the network returns.
    """

    def __init__(
        self,
        model: "ProbedModel",
        data: "ProbeDataset",
        activations: "Activations",
        limit: int = 50,
        output: "Output" = None,
    ) -> None:
        self.model, self.data, self.limit, self.output = model, data, limit, output
        self._store = label_store(activations, data)

    def of(self, entries: Sequence[str]) -> "dict[str, Pictures]":
        """Class to pictures.

        Args:
            entries: CLASS, CLASS=CONCEPT (pictures of the data set that show it) or CLASS=FOLDER.
                A class alone is looked for among the concepts, and else among what the network
                predicts. '*' chooses by itself: the classes that are concepts of the data set, or
                else the five that the network predicts most often.

        Raises:
            InputError: a class that does not exist, or has fewer than two pictures.
        """
        chosen: list[str] = []
        for entry in entries:
            chosen += self._automatic() if entry == AUTOMATIC else [entry]
        if not chosen:
            raise InputError("name at least one class")
        found: dict[str, Pictures] = {}
        for entry in dict.fromkeys(chosen):
            name, _, source = entry.partition("=")
            title = class_name(self.model, self._column(name))
            found[title] = self._pictures(name, source)
            if len(found[title]) < FEWEST:
                raise InputError(
                    f"class {name!r} has {len(found[title])} pictures in {self.data.spec}, and "
                    "needs at least two; say where they are with CLASS=CONCEPT or CLASS=FOLDER"
                )
        return found

    def _pictures(self, name: str, source: str) -> "Pictures":
        if source and Path(source).is_dir():
            every = folder_pictures(source)
            return [every[i] for i in _spaced(np.arange(len(every)), self.limit)]
        concepts = self._store.concepts
        same = np.flatnonzero((concepts["name"] == name) & (concepts["level"] == "image"))
        if not source and len(same) == 1:  # of two of a name, the one of whole pictures is meant
            shown = self._store.shown_native[:, same[0]]
        elif source or name in concepts["name"].to_numpy():
            shown = self._store.shown_native[:, index_of(concepts, source or name)]
        else:
            shown = self._predicted == self._column(name)
        return DatasetPictures(self.data, _spaced(np.flatnonzero(shown), self.limit))

    def _automatic(self) -> list[str]:
        names = set(self.model.class_names or []) & set(self._store.concepts["name"])
        if names:
            return [n for n in self.model.class_names or [] if n in names][:MOST]
        columns, counts = np.unique(self._predicted, return_counts=True)
        often = columns[np.argsort(-counts, kind="stable")]
        enough = [c for c in often if (self._predicted == c).sum() >= FEWEST]
        return [str(c) for c in enough[:MOST]]

    def _column(self, name: str) -> int:
        return int(class_columns(self.model, [name], self._outputs)[0])

    @cached_property
    def _outputs(self) -> int:
        """How many columns the scores have."""
        from conceptlab.passes.gradient import scores

        batch = next(batches(self.model, DatasetPictures(self.data, np.arange(1)), 1))
        return int(scores(self.model, batch, self.output).shape[1])

    @cached_property
    def _predicted(self) -> NDArray[np.int64]:
        """(N,) the class that the network puts each picture into."""
        from conceptlab.passes.gradient import scores

        every = DatasetPictures(self.data, np.arange(len(self.data)))
        parts: list[Any] = [
            scores(self.model, batch, self.output).argmax(axis=1)
            for batch in batches(self.model, every)
        ]
        return np.concatenate(parts)


def known_classes(model: "ProbedModel", entries: Sequence[str], quiet: bool = False) -> list[str]:
    """Those of a study's classes that a network has; the others are told in the log."""
    known = set(model.class_names or [])
    found = []
    for entry in entries:
        name = entry.partition("=")[0]
        if name == AUTOMATIC or name.isdecimal() or name in known:
            found.append(entry)
        elif not quiet:
            log.info("%s has no class %r", model.name, name)
    return found


def spaced_rows(data: "ProbeDataset", most: int) -> DatasetPictures:
    """At most so many pictures of a data set, evenly spaced."""
    return DatasetPictures(data, _spaced(np.arange(len(data)), most))


def _spaced(rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """At most so many of some rows, evenly spaced."""
    if len(rows) <= most:
        return rows
    return np.asarray(rows[np.linspace(0, len(rows) - 1, most).round().astype(int)])
