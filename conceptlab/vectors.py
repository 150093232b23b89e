"""Concepts and their vectors: what every probe returns.

Fong & Vedaldi 2018 (Net2Vec), sections 3 and 5.3: a concept's weights over the units of a layer,
normalised to unit length, are its embedding. No torch here: vectors are arrays with labels.
"""

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conceptlab.errors import InputError
from conceptlab.given import checked, require_names, require_number
from conceptlab.hdf5 import FormatError, array, attribute, parsed, sealed, text
from conceptlab.keys import canonical
from conceptlab.registry import near_matches
from conceptlab.space import Space, read_space, write_space
from conceptlab.vectorfile import SCHEMA, old_table, table_from, table_text, vectors_file

if TYPE_CHECKING:
    import h5py
    from PIL.Image import Image

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Concept:
    """A label of the probe set: its name, its category, and where it is annotated.

    Args:
        name: as the data set writes it.
        category: scene, object, part, material, texture, color, or the data set's own.
        level: 'pixel' or 'image'.
    """

    name: str
    category: str
    level: str = "pixel"


class AppliesVectors(Protocol):
    """What `segment` and `score` ask of a model (`conceptlab.models.ProbedModel` has it)."""

    def apply(
        self, vectors: "ConceptVectors", image: "Image", size: tuple[int, int] | None
    ) -> tuple[Floats, Floats]:
        """Logit maps (C, h, w) and logits of the pooled activations (C,).

        Raises:
            SpaceError: another model than the vectors'.
        """
        ...


def qualified_names(concepts: pd.DataFrame) -> list[str]:
    """Names as tables write them: `category/name` where two categories share a name.

    Args:
        concepts: columns name, category.
    """
    shared = concepts["name"].duplicated(keep=False)
    return [
        f"{category}/{name}" if twice else str(name)
        for name, category, twice in zip(
            concepts["name"], concepts["category"], shared, strict=True
        )
    ]


def index_of(concepts: pd.DataFrame, name: str) -> int:
    """The row of a concept, by its name or `category/name`.

    Args:
        concepts: columns name, category.
        name: which.

    Raises:
        InputError: no such concept, or a name that two categories share.
    """
    full = concepts["category"].astype(str) + "/" + concepts["name"].astype(str)
    hits = np.flatnonzero((concepts["name"] == name) | (full == name))
    if len(hits) == 1:
        return int(hits[0])
    if len(hits) > 1:
        raise InputError(
            f"concept {name!r} stands in several categories; say one of "
            + ", ".join(full.iloc[hits])
        )
    raise InputError(f"no concept {name!r} here; {near_matches(name, qualified_names(concepts))}")


def unit_rows(weights: NDArray[np.floating[Any]]) -> Floats:
    """Rows at unit length; a zero row stays zero.

    Args:
        weights: (C, K).
    """
    rows = np.asarray(weights, dtype=np.float64)
    # by a power of 2, which is exact, so that no square over- or underflows
    power = np.frexp(np.abs(rows).max(axis=1, initial=0.0))[1]
    rows = np.ldexp(rows, -power[:, None])
    norms = np.sqrt(np.einsum("ck,ck->c", rows, rows))
    scale = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0)
    unit: Floats = rows * scale[:, None]
    return unit


@dataclass(frozen=True)
class ConceptVectors:
    """One vector and bias per concept over a layer's K units, with what is known of each.

    Args:
        weights: (C, K).
        bias: (C,), added to the weighted sum before the sigmoid.
        concepts: C rows in the same order; columns name, category, and any scores.
        kind: 'unit', 'segmentation', 'classification', 'cav', ...
        space: what the K coordinates are.
        thresholds: (K,) T_k of each unit, where `space.inputs` is 'binary@...', else None.
        provenance: settings and seeds, as JSON values.

    Raises:
        InputError: shapes that do not fit one another.
    """

    weights: Floats
    bias: Floats
    concepts: pd.DataFrame
    kind: str
    space: Space
    thresholds: NDArray[np.float32] | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check shapes, and hold the arrays read-only in one type."""
        missing = [name for name in ("name", "category") if name not in self.concepts]
        if missing:
            raise InputError(f"a table of concepts needs a column {missing[0]!r}")
        count = len(self.concepts)
        wanted = (count, self.space.units)
        if self.weights.shape != wanted or self.bias.shape != (count,):
            raise InputError(
                f"weights {self.weights.shape} and bias {self.bias.shape} do not fit "
                f"{count} concepts over {self.space.units} units"
            )
        if self.space.inputs.startswith("binary") and self.thresholds is None:
            raise InputError("vectors over thresholded activations need their thresholds")
        for name in ("weights", "bias"):
            array = np.array(getattr(self, name), dtype=np.float64)
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        object.__setattr__(self, "concepts", self.concepts.reset_index(drop=True))

    def __len__(self) -> int:
        """C, the number of concepts."""
        return len(self.concepts)

    def _repr_html_(self) -> str:
        title = html.escape(
            f"{self.kind} vectors: {len(self)} concepts over {self.space.units} units of "
            f"{self.space.layer} in {self.space.model}"
        )
        return f"<p>{title}</p>{self.concepts.to_html(max_rows=20, escape=True)}"

    @property
    def names(self) -> list[str]:
        """(C,) names, written `category/name` where two categories share one."""
        return qualified_names(self.concepts)

    @property
    def normalized(self) -> "ConceptVectors":
        """The same vectors at unit length (w' of section 5.3), without their biases."""
        return replace(self, weights=unit_rows(self.weights), bias=np.zeros(len(self)))

    @property
    def similarity(self) -> Floats:
        """(C, C) cosine similarities; a zero vector is similar to nothing, 0."""
        rows = unit_rows(self.weights)
        return rows @ rows.T

    @property
    def usable(self) -> NDArray[np.bool_]:
        """(C,) whether a concept has a vector: finite, and not all zero."""
        largest = np.abs(self.weights).max(axis=1, initial=0.0)
        usable: NDArray[np.bool_] = np.asarray(np.isfinite(largest) & (largest > 0), dtype=bool)
        return usable

    @checked
    def index(self, name: str) -> int:
        """The row of a concept, by its name or `category/name`.

        Raises:
            InputError: no such concept, or a name that two categories share.
        """
        return index_of(self.concepts, name)

    def select(
        self, which: str | Sequence[str] | Callable[[pd.DataFrame], Any]
    ) -> "ConceptVectors":
        """Some of the vectors: a name, several, or a function of `concepts` to a boolean mask.

        Names that are a part of the column `concepts["name"]` mean its rows, also where two
        categories share a name.
        """
        if callable(which):
            rows = np.flatnonzero(np.asarray(which(self.concepts), dtype=bool))
        elif isinstance(which, pd.Series) and self._own(which):
            rows = self.concepts.index.get_indexer(which.index)
        else:
            names = [which] if isinstance(which, str) else which
            require_names(names, "a selection")
            rows = np.array([self.index(name) for name in names], dtype=int)
        return replace(
            self,
            weights=self.weights[rows],
            bias=self.bias[rows],
            concepts=self.concepts.iloc[rows],
        )

    def _own(self, names: pd.Series) -> bool:
        """Whether names are a part of the own column of names."""
        here = self.concepts["name"].reindex(names.index)
        return bool(names.index.is_unique and (here == names).all())

    def nearest(self, name: str, k: int = 5) -> pd.DataFrame:
        """The k concepts nearest to one by cosine, itself left out (table 2).

        Returns:
            Columns concept, category, cosine; nearest first.
        """
        return self.arithmetic(plus=[name], k=k)

    def arithmetic(
        self, plus: Sequence[str], minus: Sequence[str] = (), k: int = 5
    ) -> pd.DataFrame:
        """The k concepts nearest to a sum of unit vectors, its terms left out (table 3).

        Args:
            plus: names of the vectors added.
            minus: names of the vectors taken away.
            k: rows to return.

        Returns:
            Columns concept, category, cosine; nearest first. Concepts without a vector (all
            weights zero, or not finite) never appear.

        Raises:
            InputError: an unknown concept, or one without a vector; a k below 1; a sum of nothing.
        """
        require_names(plus, "plus")
        require_names(minus, "minus")
        require_number(k, "k", 1)
        if not len(plus) and not len(minus):
            raise InputError("arithmetic needs at least one concept")
        rows, usable = unit_rows(self.weights), self.usable
        terms = [(self.index(name), 1.0) for name in plus]
        terms += [(self.index(name), -1.0) for name in minus]
        for row, _ in terms:
            if not usable[row]:
                raise InputError(
                    f"concept {self.names[row]!r} has no vector (too few examples to fit one)"
                )
        query = sum((sign * rows[row] for row, sign in terms), np.zeros(self.space.units))
        length = np.linalg.norm(query)
        if length <= 1e-12 * max(len(terms), 1):
            raise InputError("these vectors add up to nothing, which is near to no concept")
        cosine = rows[usable] @ query / length
        table = pd.DataFrame(
            {
                "concept": np.array(self.names, dtype=object)[usable],
                "category": self.concepts["category"].to_numpy()[usable],
                "cosine": cosine,
            },
            index=np.flatnonzero(usable),
        )
        table = table.drop(index=[row for row, _ in terms], errors="ignore")
        return (
            table.sort_values("cosine", ascending=False, kind="stable")
            .head(k)
            .reset_index(drop=True)
        )

    def segment(
        self, model: AppliesVectors, image: "Image", size: tuple[int, int] | None = None
    ) -> NDArray[np.float32]:
        """Where each concept is in a new image: eq. 2 upsampled, a mask being the map > 0.5.

        Args:
            model: the network that the vectors were learned on.
            image: any RGB picture.
            size: (height, width) of the maps; the picture's own if not given.

        Returns:
            (C, h, w) in 0..1; NaN where the network does not see the picture (`fit="crop"`).

        Raises:
            SpaceError: another model than the vectors'.
        """
        _require_network(model)
        maps, _ = model.apply(self, image, size)
        return _sigmoid(maps).astype(np.float32)

    def score(self, model: AppliesVectors, image: "Image") -> pd.DataFrame:
        """How much of each concept is in a new image.

        Classification vectors give eq. 5's probability; the others, which are learned per pixel,
        the share of what the network sees that their mask covers.

        Returns:
            Columns concept, category, measure ('probability' or 'share of pixels'), score (0..1),
            highest first.

        Raises:
            SpaceError: another model than the vectors'.
        """
        _require_network(model)
        maps, pooled = model.apply(self, image, None)
        whole = self.kind == "classification"
        seen = np.isfinite(maps).sum(axis=(1, 2))  # a centre crop leaves the rest unseen
        share = (maps > 0).sum(axis=(1, 2)) / np.maximum(seen, 1)
        score = _sigmoid(pooled) if whole else share
        measure = "probability" if whole else "share of pixels"
        table = self.concepts[["category"]].assign(measure=measure, score=score)
        table.insert(0, "concept", self.names)
        return table.sort_values("score", ascending=False, kind="stable").reset_index(drop=True)

    @checked
    def save(self, path: str | Path) -> None:
        """Write a sealed HDF5 file, whole or not at all; every number keeps all its digits.

        Raises:
            InputError: a table that a file cannot keep.
            OSError: the disk is full, or the folder cannot be written.
        """
        with sealed(Path(path)) as file:
            self.write(file)

    def write(self, file: "h5py.File") -> None:
        """Write into an open HDF5 file, which may hold other things besides."""
        file["weights"], file["bias"] = self.weights, self.bias
        if self.thresholds is not None:
            file["thresholds"] = self.thresholds
        file["concepts"] = table_text(self.concepts)
        file.attrs["schema"] = SCHEMA
        file.attrs["kind"] = self.kind
        write_space(file, self.space)
        file.attrs["provenance"] = canonical(dict(self.provenance))

    @classmethod
    @checked
    def load(cls, path: str | Path) -> "ConceptVectors":
        """Read what `save` wrote.

        Raises:
            InputError: no such file, a damaged one, or not a file of concept vectors.
        """
        with vectors_file(Path(path)) as file:
            return cls.read(file)

    @classmethod
    def read(cls, file: "h5py.File") -> "ConceptVectors":
        """Read from an open HDF5 file.

        Raises:
            FormatError: it does not hold concept vectors.
        """
        old = attribute(file, "schema") != SCHEMA
        space = read_space(file)
        provenance = parsed(attribute(file, "provenance"), "provenance")
        if not isinstance(provenance, dict):
            raise FormatError("its provenance is no JSON object")
        concepts = (old_table if old else table_from)(text(file, "concepts"), "table of concepts")
        shape = (len(concepts), space.units)
        return cls(
            weights=array(file, "weights", kinds="f", shape=shape),
            bias=array(file, "bias", kinds="f", shape=shape[:1]),
            concepts=concepts,
            kind=str(attribute(file, "kind")),
            space=space,
            thresholds=array(file, "thresholds", kinds="f", shape=shape[1:])
            if "thresholds" in file else None,
            provenance=provenance,
        )  # fmt: skip


def _require_network(model: object) -> None:
    if not hasattr(model, "apply") or not hasattr(model, "fingerprint"):
        raise InputError(
            "vectors apply to the network of conceptlab.load_model that they were learned on; got "
            f"a {type(model).__name__}"
        )


def _sigmoid(logits: Floats) -> Floats:
    from scipy.special import expit

    result: Floats = expit(logits)
    return result
