"""Where networks differ, from whole embeddings down to one concept and its units.

Fong & Vedaldi 2018, section 5.3, has the distances; the thesis, section 7.2.2, asks for zooming
between them, and for whether architectures differ by more than two training runs of one network do.
"""

import html
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conceptlab.analysis.comparison.distances import EmbeddingDistances, embedding_distance
from conceptlab.analysis.comparison.items import Items, Which, matched
from conceptlab.analysis.comparison.relabelling import relabelling
from conceptlab.errors import InputError
from conceptlab.given import checked, require_number, require_seed
from conceptlab.numerics.testing import benjamini_hochberg
from conceptlab.vectors import index_of, qualified_names, unit_rows

Floats = NDArray[np.float64]
LEVELS = ["i", "j", "runs_i", "runs_j"]
OUTCOME = ["between", "within", "excess", "p_value", "p_adjusted", "test"]


@dataclass(frozen=True)
class Zoom:
    """Differences between networks at every level, beside those between training runs.

    In every table `between` is the mean distance of a run of i and a run of j, `within` that of two
    runs of one network, `excess` their difference (without bias, the squared distance of the
    networks' mean similarities), p_value the chance of such an excess if the runs had been dealt
    out at random, and p_adjusted the same after Benjamini & Hochberg 1995 over the table. `test`
    says what was dealt out: whole 'runs', or those of each concept apart ('concepts'), which takes
    concepts for independent; '' where no network has two runs, and there is nothing to compare
    with.

    Args:
        whole: a row per two networks; i, j, runs_i, runs_j, concepts, and the above; D_ij.
        by_category: likewise for each category; mean D_ijc over its concepts.
        by_concept: likewise for each concept, largest excess first; D_ijc.
        networks: name to its runs, over the same concepts.
        concepts: (C,) rows name, category.
    """

    whole: pd.DataFrame
    by_category: pd.DataFrame
    by_concept: pd.DataFrame
    networks: Mapping[str, Sequence[Items]]
    concepts: pd.DataFrame

    def _repr_html_(self) -> str:
        parts = {
            "whole embeddings": self.whole, "categories": self.by_category,
            "concepts": self.by_concept,
        }  # fmt: skip
        return "".join(
            f"<p>{html.escape(title)}</p>{table.to_html(max_rows=20, escape=True)}"
            for title, table in parts.items()
        )

    def concept(self, name: str) -> pd.DataFrame:
        """How one concept lies among the others in each network, the most different first.

        Args:
            name: of the concept.

        Returns:
            A row per other concept: concept, category, a column per network with the mean cosine
            of its runs, spread (largest less smallest of these), and run_spread (standard deviation
            between runs of one network, pooled; NaN without second runs).

        Raises:
            InputError: no such concept.
        """
        place = index_of(self.concepts, name)
        rows = {k: np.stack([_row(run, place) for run in v]) for k, v in self.networks.items()}
        means = np.stack([r.mean(axis=0) for r in rows.values()])
        spreads = [r.var(axis=0, ddof=1) for r in rows.values() if len(r) > 1]
        table = pd.DataFrame(
            {"concept": qualified_names(self.concepts), "category": self.concepts["category"]}
        )
        table = table.assign(
            **{f"{k}": mean for k, mean in zip(rows, means, strict=True)},
            spread=np.ptp(means, axis=0),
            run_spread=np.sqrt(np.mean(spreads, axis=0)) if spreads else np.nan,
        ).drop(index=place)
        return table.sort_values("spread", ascending=False, kind="stable", ignore_index=True)

    @checked
    def units(self, name: str, k: int = 5) -> pd.DataFrame:
        """The units that carry one concept in each run of each network.

        Units of two runs have no common order. What stands for a unit elsewhere is the unit whose
        weights over all concepts are most correlated with its own.

        Args:
            name: of the concept.
            k: units of each run.

        Returns:
            Columns network, run (from 1), rank, unit, weight (of the unit vector), share
            (|w_k| / ||w||_1), effective (units that the concept is spread over: (sum w^2)^2 /
            sum w^4), serves (the concept that the unit weighs most for), like_network, like_run,
            like_unit, like_r (the most similar unit of any other run).

        Raises:
            InputError: no such concept; a network without units, such as WordNet; a k below 1.
        """
        require_number(k, "k", 1)
        place = index_of(self.concepts, name)
        runs = {
            (network, number): unit_rows(run.coordinates(network))
            for network, items in self.networks.items()
            for number, run in enumerate(items, 1)
        }
        profiles = {key: _profiles(rows) for key, rows in runs.items()}
        names = np.array(qualified_names(self.concepts), dtype=object)
        parts = []
        for key, rows in runs.items():
            weights = rows[place]
            top = np.argsort(-np.abs(weights), kind="stable")[:k]
            part = pd.DataFrame(
                {"network": key[0], "run": key[1], "rank": np.arange(1, len(top) + 1), "unit": top,
                 "weight": weights[top], "share": np.abs(weights[top]) / np.abs(weights).sum(),
                 "effective": (weights**2).sum() ** 2 / (weights**4).sum(),
                 "serves": names[rows[:, top].argmax(axis=0)]}
            )  # fmt: skip
            others = {other: profile for other, profile in profiles.items() if other != key}
            parts.append(part.join(_likest(profiles[key][:, top], others)))
        return pd.concat(parts, ignore_index=True)


@checked
def zoom(
    networks: Mapping[str, Any],
    *,
    concepts: Which = "shared",
    draws: int = 1000,
    seed: int = 0,
) -> Zoom:
    """Where networks differ, and whether by more than training runs of the same network.

    Runs of a network are trainings that differ in their seed alone. The tests deal them out to the
    two networks anew, as wholes where there are about four of each. With fewer, the runs of each
    concept are dealt out apart, which takes concepts for independent: p-values are too small where
    runs differ in many concepts together. A single concept is compared with all concepts, each on
    the scale of its own distances; of two runs each, a concept that varies five times as much as
    others has p-values below 0.05 in 11 % of cases.

    Args:
        networks: two or more, each by name: the embeddings of its runs (`ConceptVectors`, arrays or
            `ConceptSimilarities`), or one embedding alone.
        concepts: 'shared' or 'same', see `conceptlab.analysis.comparison.items.matched`.
        draws: random deals behind each p-value; 0 for no test.
        seed: of these.

    Raises:
        InputError: fewer than two networks, one without runs, a run that is given twice, concepts
            that differ.
    """
    require_number(draws, "draws", 0)
    require_seed(seed)
    if not isinstance(networks, Mapping) or len(networks) < 2:
        raise InputError("zoom compares two networks or more, each by its name")
    runs = {str(name): _runs(str(name), given) for name, given in networks.items()}
    flat = {key: given for own in runs.values() for key, given in own.items()}
    sides = matched(flat, concepts)
    _require_different(sides, runs)
    found = embedding_distance(flat, concepts=concepts)
    labels = found.concepts.rename(columns={"concept": "name"})
    levels: dict[str, list[pd.DataFrame]] = {"whole": [], "category": [], "concept": []}
    streams = np.random.SeedSequence(seed).spawn(len(runs) * (len(runs) - 1) // 2)
    for (i, j), stream in zip(itertools.combinations(runs, 2), streams, strict=True):
        rng = np.random.default_rng(stream)
        pair = _Pair(found, list(runs[i]), list(runs[j]), draws, rng)
        at = {"i": i, "j": j, "runs_i": len(runs[i]), "runs_j": len(runs[j])}
        for level, table in pair.levels().items():
            levels[level].append(table.assign(**at))
    whole, category, concept = (
        _adjusted(pd.concat(parts, ignore_index=True)) for parts in levels.values()
    )
    return Zoom(
        whole[[*LEVELS, "concepts", *OUTCOME]],
        category[[*LEVELS, "category", "concepts", *OUTCOME]],
        concept[[*LEVELS, "concept", "category", *OUTCOME]].sort_values(
            "excess" if concept["excess"].notna().any() else "between",
            ascending=False, kind="stable", ignore_index=True,
        ),
        {name: [sides[key] for key in own] for name, own in runs.items()},
        labels,
    )  # fmt: skip


def _runs(name: str, given: Any) -> dict[str, Any]:
    """A network's embeddings, each under a name of its own."""
    several = list(given) if isinstance(given, list | tuple) else [given]
    if not several:
        raise InputError(f"{name} has no run; give it one embedding or more")
    return {f"{name} run {number}": run for number, run in enumerate(several, 1)}


def _require_different(sides: Mapping[str, Items], runs: Mapping[str, Mapping[str, Any]]) -> None:
    for own in runs.values():
        for a, b in itertools.combinations(own, 2):
            if np.array_equal(sides[a].unit(), sides[b].unit()):
                raise InputError(
                    f"{a} and {b} are the same embedding; a second run is a training of its own"
                )


@dataclass(frozen=True)
class _Pair:
    """Two networks: their distances, and how they are tested."""

    found: EmbeddingDistances
    first: list[str]
    second: list[str]
    draws: int
    rng: np.random.Generator

    def levels(self) -> dict[str, pd.DataFrame]:
        """Tables of the whole, of the categories and of the concepts."""
        runs = [*self.first, *self.second]
        places = [self.found.names.index(run) for run in runs]
        distances = self.found.per_concept[np.ix_(places, places)]  # (R, R, C)
        deals = relabelling(len(self.first), len(self.second))
        tested = deals.baseline and self.draws > 0
        test = ("runs" if deals.enough else "concepts") if tested else ""
        between, within = deals.parts(distances)
        categories = self.found.concepts["category"].astype(str)
        groups = {
            "whole": [("", np.arange(distances.shape[2]))],
            "category": [
                (str(c), np.flatnonzero(categories == c)) for c in categories.drop_duplicates()
            ],
        }
        tables = {}
        for level, members in groups.items():
            rows = [own for _, own in members]
            chances = (
                deals.group_chances(distances, rows, self.draws, self.rng)
                if tested
                else [np.nan] * len(rows)
            )
            sums = np.sum if level == "whole" else np.mean
            tables[level] = pd.DataFrame(
                {"category": [c for c, _ in members], "concepts": [len(m) for _, m in members],
                 "between": [sums(between[m]) for _, m in members],
                 "within": [sums(within[m]) for _, m in members], "p_value": chances, "test": test}
            )  # fmt: skip
        tables["concept"] = self.found.concepts[["concept", "category"]].assign(
            between=between, within=within, test=test,
            p_value=deals.concept_chances(distances) if tested else np.nan,
        )  # fmt: skip
        return tables


def _adjusted(table: pd.DataFrame) -> pd.DataFrame:
    """With the excess, and p-values over the whole table."""
    return table.assign(
        excess=table["between"] - table["within"],
        p_adjusted=benjamini_hochberg(table["p_value"].to_numpy()),
    )


def _row(run: Items, place: int) -> Floats:
    """(C,) similarities of one concept with all."""
    unit = run.unit()
    row: Floats = unit[place] if run.rows is None else unit @ unit[place]
    return row


def _profiles(rows: Floats) -> Floats:
    """(C, K) weights of each unit over all concepts, centred and at unit length."""
    return unit_rows((rows - rows.mean(axis=0)).T).T


def _likest(own: Floats, others: Mapping[tuple[str, int], Floats]) -> pd.DataFrame:
    """For each unit (a column of `own`) the unit of other runs with the most correlated weights."""
    best = pd.DataFrame(index=range(own.shape[1]))
    keys = list(others)
    found = [own.T @ profile for profile in others.values()]
    r = np.stack([part.max(axis=1) for part in found])
    which = r.argmax(axis=0)
    return best.assign(
        like_network=[keys[w][0] for w in which], like_run=[keys[w][1] for w in which],
        like_unit=[int(found[w][unit].argmax()) for unit, w in enumerate(which)],
        like_r=r.max(axis=0),
    )  # fmt: skip
