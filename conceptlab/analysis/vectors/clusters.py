"""Groups of concepts: k-means and Ward's clusters of unit vectors, and the tree of all concepts.

Fong & Vedaldi 2018, section 5.3, cluster concept embeddings with k-means.
"""

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conceptlab.analysis.comparison.result import drawn
from conceptlab.analysis.vectors.unit_vectors import directions_of
from conceptlab.errors import InputError
from conceptlab.given import SEEDS, checked, require_number, require_seed
from conceptlab.numerics.testing import permutation_p

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Method = Literal["kmeans", "ward"]
Linkage = Literal["average", "complete", "single", "ward"]
MOST = 30  # clusters that are tried where no count is given
STARTS = 10  # of k-means
RESAMPLES = 20
SHARE = 0.8  # of the concepts, in each resample
Split = Callable[[Floats, int, int], Integers]


@dataclass(frozen=True)
class Clusters:
    """Clusters of concepts, and how far they can be believed.

    Args:
        table: columns concept, category, cluster (from 0, largest first), silhouette (cosine
            distance, -1..1: how much nearer the concept is to its own cluster than to the next).
        count: of clusters.
        silhouette: mean over the concepts.
        stability: mean adjusted Rand index (1: equal, 0: chance) between these clusters and those
            of 20 resamples of 80 % of the concepts with other seeds.
        agreement: adjusted Rand index between the clusters and the categories; NaN where there is
            one category only.
        p_value: share of permutations of the categories that agree as well, the given order among
            them.
        method: 'kmeans' or 'ward'.
        draws: permutations.
    """

    table: pd.DataFrame
    count: int
    silhouette: float
    stability: float
    agreement: float
    p_value: float
    method: str
    draws: int

    def __repr__(self) -> str:
        return (
            f"<{self.count} clusters ({self.method}) of {len(self.table)} concepts: silhouette "
            f"{self.silhouette:.2f}, stability {self.stability:.2f}, agreement with the "
            f"categories {self.agreement:.2f} (p = {self.p_value:.3g})>"
        )

    def _repr_html_(self) -> str:
        table = self.table.to_html(max_rows=20, escape=True)
        return f"<p>{html.escape(repr(self)[1:-1])}</p>{table}"


@dataclass(frozen=True)
class Hierarchy:
    """The tree that joins concepts from the nearest on.

    Args:
        linkage: (n - 1, 4) as `scipy.cluster.hierarchy` has it.
        table: columns concept, category; the leaves, in their order.
        method: how the distance of two groups is taken.
    """

    linkage: Floats
    table: pd.DataFrame
    method: str


@checked
def clusters(
    vectors: Any,
    count: int | None = None,
    method: Method = "kmeans",
    seed: int = 0,
    *,
    draws: int = 1000,
) -> Clusters:
    """Clusters of unit vectors, their stability, and their agreement with the categories.

    Clusters are always found, also in noise: believe those with a high stability and a silhouette
    well above 0. The test of agreement assumes nothing but that the categories are exchangeable.

    Args:
        vectors: `ConceptVectors`, or an array (n, K).
        count: clusters, 2 to n - 1; the one of 2..30 with the best mean silhouette if not given.
        method: 'kmeans' (Euclidean, on the unit sphere) or 'ward'.
        seed: of the starts, resamples and permutations.
        draws: permutations; 0 for no test.

    Raises:
        InputError: fewer than three concepts, or more clusters than different vectors.
    """
    require_seed(seed)
    require_number(draws, "draws", 0)
    if method not in ("kmeans", "ward"):
        raise InputError(f"method is 'kmeans' or 'ward'; got {method!r}")
    space = directions_of(vectors, 3, "clustering")
    rows = space.rows[space.order]
    split = _kmeans if method == "kmeans" else _ward
    far = _distances(rows)
    most = min(MOST, len(rows) - 1, len(np.unique(rows.round(12), axis=0)))
    tried = [count] if count is not None else list(range(2, max(most, 2) + 1))
    _require_count(rows, tried)
    found = {n: split(rows, n, seed) for n in tried}
    scores = {n: _silhouettes(far, labels) for n, labels in found.items()}
    best = max(tried, key=lambda n: float(scores[n].mean()))
    labels = _largest_first(found[best])
    places = np.argsort(space.order)
    agreement, chance = _agreement(labels[places], space.categories, draws, seed)
    return Clusters(
        table=space.table().assign(cluster=labels[places], silhouette=scores[best][places]),
        count=best,
        silhouette=float(scores[best].mean()),
        stability=_stability(rows, labels, split, seed),
        agreement=agreement,
        p_value=chance,
        method=method,
        draws=draws,
    )


@checked
def hierarchy(vectors: Any, method: Linkage = "average") -> Hierarchy:
    """The tree of all concepts by cosine distance (1 - cosine), nearest first.

    Args:
        vectors: `ConceptVectors`, or an array (n, K).
        method: 'average', 'complete' or 'single' distance between groups; 'ward' takes the
            Euclidean distance of unit vectors.

    Raises:
        InputError: fewer than two concepts, or an unknown method.
    """
    from scipy.cluster.hierarchy import linkage
    from scipy.spatial.distance import squareform

    if method not in ("average", "complete", "single", "ward"):
        raise InputError(f"method is 'average', 'complete', 'single' or 'ward'; got {method!r}")
    space = directions_of(vectors, 2, "a hierarchy")
    far = _distances(space.rows)
    far = np.sqrt(2 * far) if method == "ward" else far
    return Hierarchy(linkage(squareform(far, checks=False), method), space.table(), method)


def _distances(rows: Floats) -> Floats:
    """(n, n) 1 - cosine, exactly 0 on the diagonal."""
    far: Floats = np.clip(1 - rows @ rows.T, 0, 2)
    np.fill_diagonal(far, 0)
    return far


def _require_count(rows: Floats, tried: Sequence[Any]) -> None:
    """Refuse numbers of clusters that the vectors do not allow."""
    different = len(np.unique(rows.round(12), axis=0))
    for count in tried:
        require_number(count, "count", 2)
        if count > min(different, len(rows) - 1):
            raise InputError(
                f"{len(rows)} concepts with {different} different vectors make no {count} clusters"
            )


def _kmeans(rows: Floats, count: int, seed: int) -> Integers:
    from sklearn.cluster import KMeans

    labels: Integers = KMeans(count, n_init=STARTS, random_state=seed).fit_predict(rows)
    return labels


def _ward(rows: Floats, count: int, seed: int) -> Integers:
    from sklearn.cluster import AgglomerativeClustering

    del seed  # nothing is left to chance
    labels: Integers = AgglomerativeClustering(count, linkage="ward").fit_predict(rows)
    return labels


def _silhouettes(far: Floats, labels: Integers) -> Floats:
    from sklearn.metrics import silhouette_samples

    scores: Floats = silhouette_samples(far, labels, metric="precomputed")
    return scores


def _largest_first(labels: Integers) -> Integers:
    """Clusters numbered by size, equal ones by their first concept."""
    _, first, codes, sizes = np.unique(
        labels, return_index=True, return_inverse=True, return_counts=True
    )
    ranks = np.argsort(np.lexsort((first, -sizes)))
    numbered: Integers = ranks[codes]
    return numbered


def _stability(rows: Floats, labels: Integers, split: Split, seed: int) -> float:
    """Mean adjusted Rand index with the clusters of resamples."""
    from sklearn.metrics import adjusted_rand_score

    count, size = int(labels.max()) + 1, round(SHARE * len(rows))
    scores = []
    for number, stream in enumerate(np.random.SeedSequence(seed).spawn(RESAMPLES)):
        chosen = np.sort(np.random.default_rng(stream).permutation(len(rows))[:size])
        if len(np.unique(rows[chosen].round(12), axis=0)) >= count:
            again = split(rows[chosen], count, (seed + 1 + number) % SEEDS)
            scores.append(adjusted_rand_score(labels[chosen], again))
    return float(np.mean(scores)) if scores else float("nan")


def _agreement(
    labels: Integers, categories: Sequence[str], draws: int, seed: int
) -> tuple[float, float]:
    """Adjusted Rand index of clusters and categories, and its chance by permutation."""
    from sklearn.metrics import adjusted_rand_score

    codes = np.unique(np.array(categories, dtype=str), return_inverse=True)[1]
    if codes.max() == 0:
        return float("nan"), float("nan")
    cells = int(labels.max()) + 1

    def together(order: NDArray[np.int64]) -> float:
        """What the index rises with, as sizes of clusters and categories are fixed."""
        counts = np.bincount(order * cells + labels)
        return float((counts**2).sum())

    null = drawn(draws, lambda g: together(g.permutation(codes)), seed, "categories")
    return float(adjusted_rand_score(codes, labels)), permutation_p(together(codes), null)
