"""Many directions in a layer, each a combination of few samples of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Bundle:
    """P directions of D features, which are never written out: D may be a whole flattened map.

    Args:
        samples: (S, D) float32.
        combination: (P, S) sparse: direction p is  sum_s combination[p, s] samples[s].
    """

    samples: NDArray[np.float32]
    combination: sparse.csr_array

    @classmethod
    def of(cls, directions: NDArray[Any]) -> "Bundle":
        """Directions (P, D) that are written out."""
        rows = np.asarray(directions, dtype=np.float32)
        return cls(rows, sparse.csr_array(sparse.eye_array(len(rows), dtype=np.float32)))

    @classmethod
    def combining(
        cls, samples: NDArray[np.float32], index: NDArray[np.int64], coefficients: NDArray[Any]
    ) -> "Bundle":
        """Directions that each combine n of the samples.

        Args:
            samples: (S, D).
            index: (P, n) which; one may stand there twice.
            coefficients: (P, n) and how much of each.
        """
        rows = np.repeat(np.arange(len(index)), index.shape[1])
        triple = (coefficients.ravel().astype(np.float32), (rows, index.ravel()))
        return cls(samples, sparse.csr_array(triple, shape=(len(index), len(samples))))

    def __len__(self) -> int:
        """P, the number of vectors."""
        return int(self.combination.shape[0])

    @property
    def features(self) -> int:
        """D, the length of a vector."""
        return int(self.samples.shape[1])

    def along(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """(P, n) inner products with vectors (n, D): for gradients, directional derivatives."""
        products: NDArray[np.float32] = self.combination @ (self.samples @ vectors.T)
        return products

    def sums(self, groups: NDArray[np.int64]) -> Floats:
        """(G, D) the sum of the directions of each group (G, m) of rows."""
        chosen = np.zeros((len(groups), len(self)), dtype=np.float32)
        for g, rows in enumerate(groups):
            np.add.at(chosen[g], rows, 1.0)
        together = sparse.csr_array(chosen) @ self.combination
        return np.asarray(together @ self.samples, dtype=np.float64)

    @classmethod
    def joined(cls, bundles: Sequence["Bundle"]) -> "Bundle":
        """All directions of several, one after the other."""
        combinations = [b.combination for b in bundles]
        if all(b.samples is bundles[0].samples for b in bundles):
            return cls(bundles[0].samples, sparse.csr_array(sparse.vstack(combinations)))
        samples = np.concatenate([b.samples for b in bundles])
        return cls(samples, sparse.csr_array(sparse.block_diag(combinations, format="csr")))
