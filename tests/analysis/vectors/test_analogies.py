from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from conceptlab.analysis.vectors.analogies import Analogies, analogies
from conceptlab.errors import InputError
from tests.analysis.vectors.made import make


def planted(seed=0, count=6, noise=0.05, others=20, units=40):
    """Bases, the same bases plus one offset, and concepts of no relation."""
    rng = np.random.default_rng(seed)
    bases, offset = rng.normal(size=(count, units)), 1.5 * rng.normal(size=units)
    shifted = bases + offset
    weights = np.vstack([bases, shifted, rng.normal(size=(others, units))])
    names = [f"a{i}" for i in range(count)] + [f"b{i}" for i in range(count)]
    names += [f"o{i}" for i in range(others)]
    vectors = make(weights + noise * rng.normal(size=weights.shape), names)
    return vectors, [(f"a{i}", f"b{i}") for i in range(count)]


def replica(vectors, analogy):
    """One analogy read aloud: rank, answer and both cosines."""
    unit = {n: w / np.linalg.norm(w) for n, w in zip(vectors.names, vectors.weights, strict=True)}
    a, b, c, d = analogy
    query = unit[b] - unit[a] + unit[c]
    query = query / np.linalg.norm(query)
    cosines = {n: w @ query for n, w in unit.items() if n not in (a, b, c)}
    ranked = sorted(cosines, key=lambda n: -cosines[n])
    near_c = sorted(cosines, key=lambda n: -(unit[n] @ unit[c]))
    return {
        "rank": ranked.index(d) + 1, "candidates": len(ranked), "answer": ranked[0],
        "cosine": cosines[ranked[0]], "cosine_expected": cosines[d],
        "rank_near_c": near_c.index(d) + 1,
    }  # fmt: skip


def test_ranks_answers_and_cosines_are_those_of_the_definition():
    vectors = make(np.random.default_rng(0).normal(size=(14, 6)))
    pairs = [(f"c{i}", f"c{i + 7}") for i in range(5)]
    result = analogies(vectors, pairs, draws=0)
    made = [(*p, *q) for p, q in permutations(pairs, 2)]
    assert result.table[["a", "b", "c", "expected"]].to_numpy().tolist() == [list(m) for m in made]
    for row, analogy in zip(result.table.to_dict("records"), made, strict=True):
        for key, value in replica(vectors, analogy).items():
            assert row[key] == (pytest.approx(value) if isinstance(value, float) else value)
    ranks = result.table["rank"]
    assert result.value == pytest.approx((1 / ranks).mean())
    assert result.top1 == (ranks == 1).mean()
    assert result.top5 == (ranks <= 5).mean()
    assert np.isnan(result.p_value)


def test_answers_are_those_of_arithmetic():
    vectors, pairs = planted(noise=1.0)
    for row in analogies(vectors, pairs, draws=0).table.to_dict("records"):
        found = vectors.arithmetic([row["b"], row["c"]], [row["a"]], k=1)
        assert row["answer"] == found["concept"][0]
        assert row["cosine"] == pytest.approx(found["cosine"][0])


def test_blocks_of_analogies_change_nothing(monkeypatch):
    vectors, pairs = planted(noise=1.0)
    whole = analogies(vectors, pairs, draws=30)
    monkeypatch.setattr("conceptlab.analysis.vectors.analogies.CELLS", 70)
    parts = analogies(vectors, pairs, draws=30)
    pd.testing.assert_frame_equal(parts.table, whole.table)
    assert (parts.p_value, parts.interval) == (whole.p_value, whole.interval)


def test_planted_analogies_are_found_and_random_vectors_have_none():
    vectors, pairs = planted()
    found = analogies(vectors, pairs, draws=500)
    assert (found.table["rank"] == 1).all()
    assert (found.value, found.top1, found.interval[1]) == (1.0, 1.0, 1.0)
    assert 0.3 < found.interval[0] < 0.9  # few pairs are no certainty
    assert found.p_value == pytest.approx(1 / 501)
    noise = make(np.random.default_rng(1).normal(size=vectors.weights.shape), vectors.names)
    none = analogies(noise, pairs, draws=500)
    assert none.value < 0.3
    assert none.p_value > 0.05


def test_permutation_test_is_that_of_the_definition():
    """Vectors change names within categories; a mean log rank as low counts."""
    rng = np.random.default_rng(3)
    categories = [*"xxxxxyyyyz"]
    vectors = make(rng.normal(size=(10, 4)), categories=categories)
    pairs = [("c0", "c5"), ("c1", "c6"), ("c2", "c7"), ("c3", "c9")]
    made = [(*p, *q) for p, q in permutations(pairs, 2)]

    def statistic(weights):
        own = make(weights)
        return np.mean([np.log(replica(own, m)["rank"]) for m in made])

    shuffled = np.random.default_rng(5)
    observed, null = statistic(vectors.weights), []
    for _ in range(400):
        order = np.arange(10)
        for category in "xyz":
            own = np.flatnonzero(np.array(categories) == category)
            order[own] = shuffled.permutation(own)
        null.append(statistic(vectors.weights[order]))
    expected = np.mean(np.array(null) <= observed + 1e-12)
    found = analogies(vectors, pairs, draws=3000).p_value
    assert 0.05 < expected < 0.95
    assert found == pytest.approx(expected, abs=0.07)


def test_right_category_alone_counts_as_chance_unless_asked():
    """Colours lie together, but no colour belongs to its object."""
    rng = np.random.default_rng(8)
    weights = rng.normal(size=(30, 30))
    weights[20:] = 3 * rng.normal(size=30) + rng.normal(size=(10, 30))
    names = [f"thing{i}" for i in range(20)] + [f"colour{i}" for i in range(10)]
    vectors = make(weights, names, ["object"] * 20 + ["color"] * 10)
    pairs = [(f"thing{i}", f"colour{i}") for i in range(8)]
    assert analogies(vectors, pairs, draws=300, within="all").p_value < 0.01
    assert analogies(vectors, pairs, draws=300).p_value > 0.05


def test_concepts_alone_in_their_categories_say_nothing():
    vectors, pairs = planted(count=4, others=4)
    alone = make(vectors.weights, vectors.names, vectors.names)
    assert np.isnan(analogies(alone, pairs, draws=50).p_value)


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 4])
def test_false_positives_of_random_embeddings_are_as_many_as_the_level_says(count):
    chances = []
    for seed in range(300):
        weights = np.random.default_rng(seed).normal(size=(16, 8))
        given = [[4 * i, 4 * i + 1, 4 * i + 2, 4 * i + 3] for i in range(count)]
        chances.append(analogies(weights, given, draws=39, seed=seed).p_value)
    assert 0.03 <= np.mean(np.array(chances) <= 0.05) <= 0.07
    assert 0.45 <= np.mean(chances) <= 0.55


def test_interval_of_separate_analogies_is_near_the_bootstrap_of_their_mean():
    vectors = make(np.random.default_rng(4).normal(size=(120, 10)))
    given = [tuple(f"c{4 * i + j}" for j in range(4)) for i in range(30)]
    result = analogies(vectors, given, draws=2000)
    scores = 1 / result.table["rank"].to_numpy()
    drawn = np.random.default_rng(9).choice(scores, size=(20000, 30)).mean(axis=1)
    assert_allclose(result.interval, np.quantile(drawn, [0.025, 0.975]), atol=0.06)


def test_interval_of_pairs_is_over_pairs():
    vectors, pairs = planted(noise=1.5, count=8)
    result = analogies(vectors, pairs, draws=2000)
    place = {name: i for i, (name, _) in enumerate(pairs)}
    scores = np.full((8, 8), np.nan)
    for row in result.table.to_dict("records"):
        scores[place[row["a"]], place[row["c"]]] = 1 / row["rank"]
    rng, drawn = np.random.default_rng(2), []
    for _ in range(4000):
        some = rng.integers(0, 8, size=8)
        values = [scores[i, j] for i in some for j in some if i != j]
        drawn.append(np.mean(values))
    assert_allclose(result.interval, np.quantile(drawn, [0.025, 0.975]), atol=0.15)
    assert result.interval[0] < result.value < result.interval[1]


def test_two_pairs_have_no_interval():
    vectors, pairs = planted(count=2)
    assert np.isnan(analogies(vectors, pairs, draws=20).interval).all()


def test_pairs_that_share_a_term_make_no_analogy():
    vectors = make(np.random.default_rng(0).normal(size=(8, 5)))
    table = analogies(vectors, [("c0", "c1"), ("c2", "c1"), ("c3", "c4")], draws=0).table
    assert table[["a", "c"]].to_numpy().tolist() == [
        ["c0", "c3"], ["c2", "c3"], ["c3", "c0"], ["c3", "c2"],
    ]  # fmt: skip


def test_equal_candidates_share_their_ranks():
    """One-hot vectors: b - a + c is as near to every other concept."""
    table = analogies(np.eye(9), [("0", "1", "2", "3")], draws=0).table
    assert table["rank"].tolist() == [3.5]


def test_permuted_concepts_change_no_rank():
    vectors, pairs = planted(noise=1.2)
    order = np.random.default_rng(1).permutation(len(vectors))
    first = analogies(vectors, pairs, draws=0)
    names = [vectors.names[i] for i in order]
    second = analogies(make(vectors.weights[order], names), pairs, draws=0)
    pd.testing.assert_frame_equal(first.table, second.table)


def test_same_seed_same_result():
    vectors, pairs = planted(noise=2.0)
    first, again = (analogies(vectors, pairs, draws=99, seed=3) for _ in range(2))
    assert (first.p_value, first.interval) == (again.p_value, again.interval)


def test_same_names_in_two_categories_are_told_apart():
    names = ["orange", "orange", "lemon", "yellow", "tree", "green"]
    categories = ["object", "color", "object", "color", "object", "color"]
    vectors = make(np.random.default_rng(0).normal(size=(6, 4)), names, categories)
    pairs = [("object/orange", "color/orange"), ("lemon", "yellow")]
    assert analogies(vectors, pairs, draws=9).table["b"].tolist() == ["color/orange", "yellow"]
    with pytest.raises(InputError, match="object/orange, color/orange"):
        analogies(vectors, [("orange", "yellow"), ("lemon", "green")])


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([("c0", "c1"), ("c2", "c55")], "no concept 'c55' here; nearest: c5"),
        ([("c0", "c1"), ("c2", "c7")], "'c7' has no vector"),
        ([("c0", "c1", "c2")], "lengths"),
        ([("c0", "c1"), ("c2", "c3", "c4", "c5")], "lengths"),
        ([], "got none"),
        (["c0", "c1"], "not of single names"),
        ("c0", "not of single names"),
        ([("c0", "c1")], "two pairs without a common concept"),
        ([("c0", "c1"), ("c1", "c2")], "two pairs without a common concept"),
        ([("c0", "c1", "c2", "c1")], "four different concepts"),
    ],
)
def test_bad_pairs_are_one_clear_sentence(pairs, message):
    weights = np.random.default_rng(0).normal(size=(8, 3))
    weights[7] = 0
    with pytest.raises(InputError, match=message):
        analogies(make(weights), pairs)


def test_other_bad_input_is_one_clear_sentence():
    with pytest.raises(InputError, match="at least 5 concepts"):
        analogies(np.eye(4), [("0", "1", "2", "3")])
    with pytest.raises(InputError, match="'category' or 'all'"):
        analogies(np.eye(6), [("0", "1", "2", "3")], within="group")


def test_result_says_what_it_found():
    vectors, pairs = planted()
    result = analogies(vectors, pairs, draws=99)
    assert isinstance(result, Analogies)
    assert "30 analogies: mean reciprocal rank 1.000" in repr(result)
    assert "<table" in result._repr_html_()
    assert "&lt;" not in result._repr_html_().split("</p>")[0]


def test_orders_that_change_nothing_test_nothing():
    relation = [("c0", "c1"), ("c2", "c3"), ("c4", "c5")]
    alone = make(np.random.default_rng(0).normal(size=(8, 5)), categories=list("abcdefgh"))
    assert np.isnan(analogies(alone, relation, 99).p_value)  # a concept a category: none moves
    assert np.isfinite(analogies(alone, relation, 99, within="all").p_value)
    for alike in (np.eye(8), np.ones((8, 5))):
        found = analogies(make(alike), relation, 99)
        assert np.isnan(found.p_value)
        assert np.isfinite(found.value)
