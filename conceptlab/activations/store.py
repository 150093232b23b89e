"""One layer's activations over a data set, and what is derived from them."""

import hashlib
import os
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from conceptlab.activations.active import ActiveSet, active_set, thresholds
from conceptlab.activations.layer_file import LayerFile
from conceptlab.given import checked
from conceptlab.space import Space


def cache_root(cache: str | Path | None) -> Path:
    """The cache folder: as given, else CONCEPTLAB_CACHE, else 'cache'."""
    return Path(cache if cache is not None else os.environ.get("CONCEPTLAB_CACHE") or "cache")


def safe_name(name: str) -> str:
    """A name that can be a file's on any system, itself where it already can.

    >>> safe_name("features.12"), safe_name("a/b")
    ('features.12', 'a_b-c14cddc0')
    """
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", name)[:100]
    reserved = plain.endswith((".float32", ".derived"))
    if plain == name and name and not name.startswith(".") and not reserved:
        return name
    return f"{plain.lstrip('.')[:90]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def folder_name(name: str, fingerprint: str) -> str:
    """The folder of a model or a data set: its name for people, its fingerprint for certainty."""
    return f"{safe_name(name)}-{fingerprint[:8]}"


class Activations(LayerFile):
    """A layer's outputs for every image of a data set; read-only, complete, picklable.

    Rows are in the data set's order: train, val, test, by file name within each.

    Args:
        path: of the layer's file in the cache.

    Attributes:
        path: where it lies.
        layer: name in `named_modules()`.
        shape: (N, K, H, W).
        dtype: float16 or float32, as stored.
        geometry: which part of a picture the network saw, and at what size.
        provenance: what the values depend on (keys schema, model, data, layer, dtype), and under
            'recorded' what else is known of how they were made.

    Raises:
        CacheError: the file is missing, damaged, or not complete.
    """

    def space(self, inputs: str = "raw") -> Space:
        """The space of vectors learned on these activations.

        Args:
            inputs: 'raw', or 'binary@0.005' for activations thresholded at that tau.
        """
        name, fingerprint, _ = self._identity
        return Space(name, fingerprint, self.layer, self.shape[1], inputs, self.sketch)

    @checked
    def thresholds(self, tau: float = 0.005) -> NDArray[np.float32]:
        """(K,) T_k of each unit; kept beside the file once computed."""
        return thresholds(self, tau)

    @checked
    def active(self, tau: float = 0.005) -> ActiveSet:
        """Which units exceed their threshold where; kept beside the file once computed."""
        return active_set(self, tau)
