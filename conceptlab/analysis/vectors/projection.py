"""Concepts on a plane: UMAP, t-SNE or principal components of their unit vectors.

Fong & Vedaldi 2018, section 5.3, show t-SNE of concept embeddings. McInnes, Healy & Melville 2018
(UMAP); van der Maaten & Hinton 2008 (t-SNE).
"""

import html
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conceptlab.analysis.vectors.unit_vectors import directions_of
from conceptlab.errors import InputError
from conceptlab.given import checked, require_number, require_seed

Floats = NDArray[np.float64]
METHODS = ("umap", "tsne", "pca")


@dataclass(frozen=True)
class Projection:
    """Where concepts lie on a plane.

    Args:
        table: columns concept, category, x, y.
        trustworthiness: how far neighbours on the plane are neighbours in the embedding, 0..1
            (Venna & Kaski 2001); about 0.5 for a plane that says nothing.
        method: 'umap', 'tsne' or 'pca'.
    """

    table: pd.DataFrame
    trustworthiness: float
    method: str

    def __repr__(self) -> str:
        return (
            f"<{self.method} of {len(self.table)} concepts: trustworthiness "
            f"{self.trustworthiness:.2f}>"
        )

    def _repr_html_(self) -> str:
        table = self.table.to_html(max_rows=20, escape=True)
        return f"<p>{html.escape(repr(self)[1:-1])}</p>{table}"


@checked
def project(
    vectors: Any, method: str = "umap", *, neighbours: int = 15, seed: int = 0
) -> Projection:
    """Concepts on a plane, by the cosines of their vectors.

    Distances on the plane mean little beyond who is near whom, and 'umap' and 'tsne' part even
    noise into islands: see `trustworthiness`, and `conceptlab.neighbours` for what beats chance.

    Args:
        vectors: `ConceptVectors`, or an array (n, K).
        method: 'umap' (needs the extra `umap`), 'tsne', or 'pca' (linear, and so without islands).
        neighbours: that each concept is placed by, fewer where there are not so many; t-SNE's
            perplexity is a third of it.
        seed: of what is left to chance; the same seed gives the same plane.

    Raises:
        InputError: fewer than five concepts with a vector, an unknown method, no umap-learn.
    """
    require_seed(seed)
    require_number(neighbours, "neighbours", 2)
    if method not in METHODS:
        raise InputError(f"method is one of {', '.join(METHODS)}; got {method!r}")
    space = directions_of(vectors, 5, "a projection")
    points = plane(space.rows[space.order], method, neighbours, seed)[np.argsort(space.order)]
    from sklearn.manifold import trustworthiness

    kept = min(5, (len(space) - 1) // 2)
    trust = trustworthiness(space.rows, points, n_neighbors=kept, metric="cosine")
    table = space.table().assign(x=points[:, 0], y=points[:, 1])
    return Projection(table, float(trust), method)


def plane(rows: NDArray[Any], method: str, neighbours: int, seed: int) -> Floats:
    """Rows on a plane, by their cosines.

    Args:
        rows: (n, K).
        method: 'umap', 'tsne' or 'pca'.
        neighbours: that each row is placed by, fewer where there are not so many.
        seed: of what is left to chance.

    Returns:
        (n, 2).

    Raises:
        InputError: no umap-learn.
    """
    place = {"umap": _umap, "tsne": _tsne, "pca": _pca}[method]
    return place(rows, min(neighbours, len(rows) - 1), seed)


def _umap(rows: NDArray[Any], near: int, seed: int) -> Floats:
    import warnings

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a part that needs another library
            import umap
    except ImportError as error:
        raise InputError(
            "umap-learn is not installed: pip install 'conceptlab[umap]', or take method='tsne'"
        ) from error
    small = len(rows) < 12  # a spectral start needs more points than dimensions
    reducer = umap.UMAP(
        n_neighbors=near, metric="cosine", random_state=seed, n_jobs=1,
        init="random" if small else "spectral",
    )  # fmt: skip
    return np.asarray(reducer.fit_transform(rows), dtype=np.float64)


def _tsne(rows: NDArray[Any], near: int, seed: int) -> Floats:
    from sklearn.manifold import TSNE

    perplexity = min(max(near / 3, 2.0), len(rows) - 1.0)
    reducer = TSNE(perplexity=perplexity, metric="cosine", init="random", random_state=seed)
    return np.asarray(reducer.fit_transform(rows), dtype=np.float64)


def _pca(rows: NDArray[Any], near: int, seed: int) -> Floats:
    del near, seed
    away = rows - rows.mean(axis=0)
    u, s, _ = np.linalg.svd(away, full_matrices=False)
    points: Floats = (u * s)[:, :2]
    points = np.pad(points, ((0, 0), (0, 2 - points.shape[1])))
    largest = points[np.abs(points).argmax(axis=0), np.arange(2)]
    return points * np.where(largest < 0, -1.0, 1.0)  # the sign of an axis is free
