"""Concept vectors of given weights."""

import numpy as np
import pandas as pd

from conceptlab.space import Space
from conceptlab.vectors import ConceptVectors


def make(weights, names=None, categories=None):
    weights = np.asarray(weights, dtype=float)
    names = names or [f"c{i}" for i in range(len(weights))]
    concepts = pd.DataFrame({"name": names, "category": categories or ["object"] * len(names)})
    space = Space("net", "f" * 64, "layer", weights.shape[1], "raw")
    return ConceptVectors(weights, np.zeros(len(weights)), concepts, "segmentation", space)
