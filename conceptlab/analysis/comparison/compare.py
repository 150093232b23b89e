"""Every measure of agreement between every two of several spaces, as one table."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from conceptlab.analysis.comparison import cka, distances, predictivity, procrustes, rsa
from conceptlab.analysis.comparison.distances import name_spaces
from conceptlab.analysis.comparison.items import Which, items_of
from conceptlab.analysis.comparison.measure import AgreementMeasure
from conceptlab.errors import InputError
from conceptlab.given import checked, require_names
from conceptlab.registry import near_matches

MEASURES: dict[str, AgreementMeasure] = {
    measure.name: measure
    for measure in (
        distances.MEASURE, *rsa.MEASURES.values(), cka.PLAIN, cka.UNBIASED, procrustes.MEASURE,
        predictivity.MEASURE,
    )
}  # fmt: skip
COORDINATES = {m.name for m in (cka.PLAIN, cka.UNBIASED, procrustes.MEASURE, predictivity.MEASURE)}
DEFAULT = ("rsa-spearman", "cka-debiased", "procrustes", "predictivity")
COLUMNS = [
    "i", "j", "measure", "value", "low", "high", "p_value", "items", "over", "draws", "note",
]  # fmt: skip


@checked
def compare(
    spaces: Mapping[str, Any] | Sequence[Any],
    measures: Sequence[str] = DEFAULT,
    *,
    draws: int = 200,
    seed: int = 0,
    concepts: Which = "shared",
) -> pd.DataFrame:
    """Every measure between every two spaces, with intervals and permutation tests.

    Args:
        spaces: two or more, by name or in a list: concept vectors, similarities such as WordNet's,
            activations of the same images, arrays.
        measures: of `adequacy()`. Where a side has no coordinates, only those of similarities are
            taken. Predictivity is not symmetric: both orders have a row.
        draws: permutations, and bootstrap samples, of each; 0 leaves tests and intervals out.
        seed: of both.
        concepts: 'shared' compares what both of a pair have a vector of, 'same' wants all.

    Returns:
        A row per pair and measure: i, j, measure, value, low, high, p_value, items, over, draws,
        note (why there is no value, or no p-value).

    Raises:
        InputError: fewer than two spaces, an unknown measure, a pair with too little in common.
    """
    require_names(measures, "measures")
    named = name_spaces(spaces)
    if len(named) < 2:
        raise InputError(f"a comparison is between two spaces or more; got {len(named)}")
    for name in measures:
        if name not in MEASURES:
            raise InputError(f"unknown measure {name!r}; {near_matches(name, MEASURES)}")
    plain = {name for name, given in named.items() if items_of(given, name).rows is None}
    rows = [
        {"i": i, "j": j, **MEASURES[name](named[i], named[j], draws, seed, concepts).row()}
        for i, j in itertools.permutations(named, 2)
        for name in measures
        if (name == predictivity.MEASURE.name or list(named).index(i) < list(named).index(j))
        and (name not in COORDINATES or not plain & {i, j})
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def adequacy() -> pd.DataFrame:
    """When each measure says something, and when it does not: columns measure, adequate."""
    return pd.DataFrame(
        {"measure": list(MEASURES), "adequate": [m.adequate for m in MEASURES.values()]}
    )
