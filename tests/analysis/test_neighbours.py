import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy.stats import false_discovery_control

from conceptlab.analysis.neighbours import arithmetic_table, nearest_table, neighbours, parse_sum
from conceptlab.errors import InputError
from conceptlab.numerics.decorrelate import uncorrelated_axes
from conceptlab.vectors import ConceptVectors, Space


def make(weights, names=None, categories=None):
    weights = np.asarray(weights, dtype=float)
    names = names or [f"c{i}" for i in range(len(weights))]
    concepts = pd.DataFrame({"name": names, "category": categories or ["object"] * len(names)})
    space = Space("net", "f" * 64, "layer", weights.shape[1], "raw")
    return ConceptVectors(weights, np.zeros(len(weights)), concepts, "segmentation", space)


def cosine(a, b):
    return a @ b / (np.linalg.norm(a) * np.linalg.norm(b))


def replica(weights, k, draws, seed, center):
    """The test read aloud: one query, one draw, one other concept at a time."""
    n, units = weights.shape
    rng = np.random.default_rng(seed)
    signs, normal = rng.choice([-1.0, 1.0], (draws, units)), rng.normal(size=(draws, units))
    unit = [w / np.linalg.norm(w) for w in weights]
    order = sorted(range(n), key=str)
    fold = {concept: place % min(10, n) for place, concept in enumerate(order)}
    rows = []
    for q in range(n):
        mean = sum(unit[i] for i in range(n) if i != q) / (n - 1) if center else 0.0
        query, others = unit[q] - mean, {i: unit[i] - mean for i in range(n) if i != q}
        away = np.stack([unit[i] for i in range(n) if fold[i] != fold[q]])
        if center:
            away = away - away.mean(axis=0)
            away /= np.linalg.norm(away, axis=1, keepdims=True)
        axes = uncorrelated_axes(away)
        axes = np.eye(units) if axes is None else axes
        spread = np.sqrt(np.mean([(axes.T @ row) ** 2 for row in away], axis=0))
        kinds = (
            [sign * query for sign in signs],
            [axes @ (sign * (axes.T @ query)) for sign in signs],
            [axes @ (some * spread) for some in normal],
        )
        ranked = sorted(others, key=lambda i: -cosine(query, others[i]))
        for r in range(k):
            own, nearer = cosine(query, others[ranked[r]]), [1, 1, 1]
            for kind, drawn in enumerate(kinds):
                for turned in drawn:
                    values = sorted((cosine(turned, v) for v in others.values()), reverse=True)
                    nearer[kind] += values[r] >= own - 1e-12
            rows.append((q, r + 1, ranked[r], own, max(nearer) / (draws + 1)))
    return rows


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize(("n", "units", "k"), [(4, 3, 2), (7, 12, 3), (5, 6, 4)])
def test_neighbours_and_chances_are_those_of_the_definition(n, units, k, center):
    weights = np.random.default_rng(n).normal(size=(n, units)) + 0.3
    table = neighbours(weights, k, draws=37, seed=5, center=center)
    expected = replica(weights, k, 37, 5, center)
    found = table[["concept", "rank", "neighbour"]].astype(int).to_numpy()
    assert found.tolist() == [list(row[:3]) for row in expected]
    assert_allclose(table["cosine"], [row[3] for row in expected], atol=1e-12)
    assert_allclose(table["p_value"], [row[4] for row in expected], atol=1e-12)


def test_blocks_of_draws_change_nothing(monkeypatch):
    weights = np.random.default_rng(3).normal(size=(6, 9))
    whole = neighbours(weights, 2, draws=50)
    monkeypatch.setattr("conceptlab.analysis.neighbours.CELLS", 60)
    pd.testing.assert_frame_equal(neighbours(weights, 2, draws=50), whole)


def test_adjustment_is_over_the_concepts_of_each_rank():
    table = neighbours(np.random.default_rng(0).normal(size=(9, 6)), 3, draws=60)
    for _, rank in table.groupby("rank"):
        assert len(rank) == 9
        assert_allclose(rank["p_adjusted"], false_discovery_control(rank["p_value"]))


def test_neighbours_are_those_of_the_vectors_themselves():
    vectors = make(np.random.default_rng(1).normal(size=(8, 5)), categories=list("aabbccdd"))
    table = neighbours(vectors, 3, draws=0)
    assert table["p_value"].isna().all()
    assert table["p_adjusted"].isna().all()
    for name, own in table.groupby("concept"):
        expected = vectors.nearest(name, 3)
        assert own["neighbour"].tolist() == expected["concept"].tolist()
        assert_allclose(own["cosine"], expected["cosine"], atol=1e-12)
    assert table["category"].tolist() == list("aaaaaabbbbbbccccccdddddd")


NULLS = {
    "equal scales": lambda rng, shape: rng.normal(size=shape),
    "log-normal scales": lambda rng, shape: (
        rng.normal(size=shape) * np.exp(2 * rng.normal(size=shape[1]))
    ),
    "heavy tails": lambda rng, shape: rng.standard_t(2, size=shape),
    "neighbouring units correlate": lambda rng, shape: (
        rng.normal(size=shape)
        @ np.linalg.cholesky(0.8 ** np.abs(np.subtract.outer(*2 * [np.arange(shape[1])]))).T
    ),
    "few dimensions": lambda rng, shape: (
        1.5 * rng.normal(size=(shape[0], 3)) @ rng.normal(size=(3, shape[1]))
        + rng.normal(size=shape)
    ),
}


@pytest.mark.parametrize("null", NULLS)
@pytest.mark.parametrize("center", [False, True])
def test_unrelated_concepts_are_no_more_often_near_than_the_level_says(null, center):
    chances = []
    for seed in range(50):
        weights = NULLS[null](np.random.default_rng([seed, 5]), (20, 16))
        chances.extend(neighbours(weights, 1, draws=99, seed=seed, center=center)["p_value"])
    assert 0.005 <= np.mean(np.array(chances) <= 0.05) <= 0.06


def test_one_hot_vectors_are_not_tested_and_scale_changes_nothing():
    table = neighbours(np.eye(6), 2, draws=99)
    assert table[["p_value", "p_adjusted"]].isna().all(axis=None)
    assert table["note"].str.contains("nothing to test").all()
    weights = np.random.default_rng(5).normal(size=(9, 7))
    wanted = neighbours(weights, 2, draws=99)
    assert (wanted["note"] == "").all()
    for scale in (1e-6, 1e6):
        found = neighbours(weights * scale, 2, draws=99)
        pd.testing.assert_frame_equal(found, wanted, atol=1e-12)


def test_where_units_are_exchanged_their_chances_stay():
    weights = np.random.default_rng(6).normal(size=(12, 8))
    first = neighbours(weights, 1, draws=4000)["p_value"]
    second = neighbours(weights[:, ::-1], 1, draws=4000)["p_value"]
    assert_allclose(first, second, atol=0.04)


def test_planted_neighbours_beat_chance_and_the_others_do_not():
    rng = np.random.default_rng(2)
    weights = rng.normal(size=(40, 64))
    weights[1] = weights[0] + 0.5 * rng.normal(size=64)
    table = neighbours(weights, 1, draws=2000).set_index("concept")
    assert table.loc["0", "neighbour"] == "1"
    assert table.loc["1", "neighbour"] == "0"
    assert (table.loc[["0", "1"], "p_adjusted"] < 0.05).all()
    assert (table.drop(["0", "1"])["p_adjusted"] > 0.05).mean() > 0.9


def test_a_direction_that_all_share_makes_no_two_concepts_near():
    weights = np.random.default_rng(4).normal(size=(20, 32)) + np.arange(32) / 6
    for center in (False, True):
        found = neighbours(weights, 1, draws=99, center=center)
        assert (found["p_value"] < 0.05).mean() < 0.3


def test_permuted_concepts_permute_the_table():
    rng = np.random.default_rng(6)
    weights, order = rng.normal(size=(10, 8)), rng.permutation(10)
    names = [f"c{i}" for i in range(10)]
    key = ["concept", "rank"]
    first = neighbours(make(weights, names), 3, draws=80).set_index(key).sort_index()
    second = neighbours(make(weights[order], [names[i] for i in order]), 3, draws=80)
    second = second.set_index(key).sort_index()
    assert first["neighbour"].tolist() == second["neighbour"].tolist()
    columns = ["cosine", "p_value", "p_adjusted"]
    assert_allclose(first[columns], second[columns], atol=1e-12)


def test_same_seed_same_chances_and_another_seed_others():
    weights = np.random.default_rng(7).normal(size=(12, 10))
    first = neighbours(weights, draws=99, seed=1)
    pd.testing.assert_frame_equal(first, neighbours(weights, draws=99, seed=1))
    assert (first["p_value"] != neighbours(weights, draws=99, seed=2)["p_value"]).any()


def test_concepts_without_a_vector_are_left_out_and_named(caplog):
    weights = np.eye(5)
    weights[1], weights[3, 2] = 0, np.nan
    table = neighbours(make(weights), draws=9)
    assert table["concept"].unique().tolist() == ["c0", "c2", "c4"]
    assert "no vector of c1, c3" in caplog.text


@pytest.mark.parametrize(
    ("weights", "options", "message"),
    [
        (np.ones((1, 3)), {}, "at least 2 concepts that have a vector; got 1"),
        (np.ones((2, 3)), {"center": True}, "at least 3 concepts"),
        (np.array([[1.0, np.nan], [1, 2], [0, 0]]), {}, "rows 0, 2 of the array"),
        (np.ones(3), {}, "array"),
        (np.ones((3, 3)), {"k": 0}, "k is a whole number of at least 1; got 0"),
        (np.ones((3, 3)), {"draws": -1}, "draws is a whole number of at least 0"),
        (make(np.eye(2), ["a", "a"]), {}, "object/a stands twice"),
    ],
)
def test_bad_input_is_one_clear_sentence(weights, options, message):
    with pytest.raises(InputError, match=message):
        neighbours(weights, **options)


SEGMENTED = make(
    [[1, 0.2, 0], [1, 0.1, 0], [0, 1, 0.5], [0, 0, 0], [0.3, 0.2, 0.9]],
    ["dog", "cat", "house", "street", "wheel"], ["object"] * 3 + ["scene", "part"],
)  # fmt: skip
CLASSIFIED = make([[0, 1, 0], [0, 1, 0.3], [1, 1, 0], [0, 0, 1]], ["dog", "paw", "house", "street"])


def test_table_2_has_both_embeddings_side_by_side():
    table = nearest_table(SEGMENTED, CLASSIFIED, ["dog", "street", "wheel"], k=2)
    assert table.index.tolist() == [1, 2]
    assert table.columns.names == ["concept", "task"]
    near = SEGMENTED.nearest("dog", 2)
    expected = [f"{c} ({v:.2f})" for c, v in zip(near["concept"], near["cosine"], strict=True)]
    assert table["dog", "segmentation"].tolist() == expected
    assert expected[0] == "cat (1.00)"
    assert table["dog", "classification"].tolist()[0] == "paw (0.96)"
    assert table["street", "segmentation"].tolist() == ["n/a", "n/a"]
    assert table["street", "classification"].tolist()[0] == "paw (0.29)"
    assert table["wheel", "classification"].tolist() == ["n/a", "n/a"]


def test_table_2_is_as_long_as_asked_where_concepts_are_few():
    table = nearest_table(CLASSIFIED, CLASSIFIED, ["dog"], k=5)
    assert table["dog", "segmentation"].tolist()[3:] == ["", ""]


def test_table_2_refuses_names_that_mean_nothing_or_two_things():
    with pytest.raises(InputError, match="nearest: dog"):
        nearest_table(SEGMENTED, CLASSIFIED, ["dogg"])
    twice = make(np.eye(3), ["orange", "orange", "dog"], ["color", "object", "object"])
    with pytest.raises(InputError, match="color/orange, object/orange"):
        nearest_table(twice, make(np.eye(2), ["orange", "cat"]), ["orange"])
    with pytest.raises(InputError, match="list of concept names"):
        nearest_table(SEGMENTED, CLASSIFIED, "dog")


def test_table_3_has_a_column_for_each_sum():
    vectors = make(
        [[5, 5, 0, 0], [0, 3, 0, 0], [0, 0, 7, 0], [1, 0, 1, 0], [0, 0, 0, 1]],
        ["grass", "green", "blue", "sky", "other"],
    )
    table = arithmetic_table(vectors, ["grass + blue - green", "grass - green"], k=2)
    first = vectors.arithmetic(["grass", "blue"], ["green"], 1)["cosine"][0]
    assert table["grass + blue - green"].tolist()[0] == f"sky ({first:.2f})"
    assert table.columns.tolist() == ["grass + blue - green", "grass - green"]
    with pytest.raises(InputError, match="nearest: grass"):
        arithmetic_table(vectors, ["gras - green"])
    with pytest.raises(InputError, match="list of sums"):
        arithmetic_table(vectors, "grass - green")


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("tree - wood", (["tree"], ["wood"])),
        ("- wood + blue sky", (["blue sky"], ["wood"])),
        ("semi-trailer", (["semi-trailer"], [])),
        ("a + b - c - d + e", (["a", "b", "e"], ["c", "d"])),
        ("living room + t-shirt - b c", (["living room", "t-shirt"], ["b c"])),
        ("", ([], [])),
        ("+ -", ([], [])),
    ],
)
def test_sums_are_read_with_signs_between_spaces(text, terms):
    assert parse_sum(text) == terms
