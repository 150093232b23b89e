import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy.stats import false_discovery_control, ortho_group

from conceptlab.analysis.vectors.neighbours import (
    arithmetic_table,
    nearest_table,
    neighbours,
    parse_sum,
)
from conceptlab.errors import InputError
from tests.analysis.vectors.made import make


def cosine(a, b):
    return a @ b / (np.linalg.norm(a) * np.linalg.norm(b))


def seen_cosines(rows, center):
    """Cosines of each concept with all others, read aloud; None with itself."""
    unit = [row / np.linalg.norm(row) for row in rows]
    found = []
    for q in range(len(unit)):
        others = [u for i, u in enumerate(unit) if i != q]
        mean = np.mean(others, axis=0) if center else 0.0
        found.append([None if i == q else cosine(unit[q] - mean, u - mean)
                      for i, u in enumerate(unit)])  # fmt: skip
    return found


def rotated_chances(rows, k, draws, center):
    """(n, k) chances, by whole rotations of the concepts that scipy draws."""
    n = len(rows)
    turns = ortho_group.rvs(n - center, size=draws, random_state=1)
    if center:  # those that leave the mean of all where it is
        others = np.linalg.svd(np.ones((1, n)))[2][1:].T
        turns = 1 / n + others @ turns @ others.T

    def ranked(some):
        each = seen_cosines(some, center)
        return np.array([sorted((c for c in row if c is not None), reverse=True) for row in each])

    own = ranked(rows)[:, :k]
    nearer = sum((ranked(turn @ rows)[:, :k] >= own - 1e-12).astype(int) for turn in turns)
    return (1 + nearer) / (1 + draws)


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize(("n", "units", "k"), [(4, 3, 2), (6, 9, 3)])
def test_neighbours_and_chances_are_those_of_the_definition(n, units, k, center):
    weights = np.random.default_rng(n).normal(size=(n, units)) * np.arange(1, units + 1) + 0.3
    table = neighbours(weights, k, draws=999, seed=5, center=center)
    for (q, own), cosines in zip(
        table.groupby("concept"), seen_cosines(weights, center), strict=True
    ):
        nearest = sorted((i for i in range(n) if i != int(q)), key=lambda i: -cosines[i])[:k]
        assert own["neighbour"].astype(int).tolist() == nearest
        assert_allclose(own["cosine"], [cosines[i] for i in nearest], atol=1e-12)
    wanted = rotated_chances(weights, k, 400, center)
    assert_allclose(table["p_value"].to_numpy().reshape(n, k), wanted, atol=0.1)  # 3.5 errors


def test_blocks_of_draws_change_nothing(monkeypatch):
    weights = np.random.default_rng(3).normal(size=(6, 9))
    whole = neighbours(weights, 2, draws=50)
    monkeypatch.setattr("conceptlab.analysis.vectors.neighbours.CELLS", 60)
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


def correlated(rng, shape):
    far = np.abs(np.subtract.outer(np.arange(shape[1]), np.arange(shape[1])))
    return rng.normal(size=shape) @ np.linalg.cholesky(0.8**far).T


def few_dimensions(rng, shape):
    few = rng.normal(size=(shape[0], 3)) @ rng.normal(size=(3, shape[1]))
    return 1.5 * few + rng.normal(size=shape)


def unequal(rng, shape):
    return rng.normal(size=shape) * np.exp(2 * rng.normal(size=shape[1])) + 2


def unrelated_probes(rng, shape):
    """Ridge regressions of labels that have nothing to do with the images."""
    images = np.maximum(rng.normal(size=(150, shape[1])) @ rng.normal(size=2 * shape[1:]), -1)
    images = (images - images.mean(axis=0)) * np.exp(rng.normal(size=shape[1]))
    labels = np.stack([rng.permutation(np.arange(150) < 30) - 0.2 for _ in range(shape[0])])
    moments = images.T @ images
    return labels @ images @ np.linalg.inv(moments + np.trace(moments) / 100 * np.eye(shape[1]))


@pytest.mark.parametrize(
    ("null", "shape", "center"),
    [
        (correlated, (20, 16), False),
        (few_dimensions, (20, 64), False),
        (unequal, (20, 16), True),
        (correlated, (12, 64), False),
        (unrelated_probes, (20, 16), False),
    ],
)
def test_unrelated_concepts_are_near_as_often_as_the_level_says(null, shape, center):
    chances = np.stack(
        [
            neighbours(null(np.random.default_rng([seed, 5]), shape), 1, 39, seed, center=center)[
                "p_value"
            ]
            for seed in range(40)
        ]
    )
    error = (chances <= 0.05).mean(axis=1).std(ddof=1) / np.sqrt(40)
    assert (chances <= 0.05).mean() == pytest.approx(0.05, abs=3 * error)
    assert error < 0.015
    assert chances.mean() == pytest.approx(0.5, abs=0.04)


@pytest.mark.parametrize("lengths", [np.arange(1, 21) / 3, np.ones(20)])
def test_lengths_that_differ_make_fewer_near_and_never_more(lengths):
    found = []
    for seed in range(30):
        rng = np.random.default_rng([seed, 6])
        weights = rng.standard_t(2, size=(20, 16)) * lengths[:, None]
        found.append(neighbours(weights, 1, 39, seed)["p_value"] <= 0.05)
    assert np.mean(found) <= 0.055


def test_vectors_of_one_length_are_not_tested():
    weights = np.random.default_rng(0).normal(size=(9, 4)) * [1, 1, 5, 9]
    assert neighbours(weights, 1, 19)["p_value"].notna().all()
    unit = weights / np.linalg.norm(weights, axis=1, keepdims=True)
    found = neighbours(unit, 1, 19)
    assert found["p_value"].isna().all()
    assert found["note"].str.contains("before they were normalised").all()
    assert (neighbours(unit, 1, 0)["note"] == "").all()


def test_parallel_vectors_are_not_tested():
    found = neighbours(np.outer(np.arange(1, 30), [3.0, 4.0]), 1, 19)
    assert found["p_value"].isna().all()
    assert found["note"].str.contains("nothing to test").all()


def test_vectors_of_a_probe_are_tested_at_their_own_lengths():
    weights = np.random.default_rng(3).normal(size=(12, 9))
    wanted = neighbours(weights, 2, draws=99)
    found = neighbours(make(weights, [str(i) for i in range(12)]), 2, draws=99)
    pd.testing.assert_frame_equal(
        found.drop(columns="category"), wanted.drop(columns="category"), atol=1e-12
    )
    assert found["p_value"].notna().all()


def test_lengths_that_are_nearly_one_are_taken_for_lost():
    """Normalised vectors that were averaged over a few draws, as CAVs are."""
    rng = np.random.default_rng(4)
    weights = rng.normal(size=(40, 16))
    unit = weights / np.linalg.norm(weights, axis=1, keepdims=True)
    found = neighbours(unit * rng.uniform(0.9, 1, size=(40, 1)), 1, 19)
    assert found["p_value"].isna().all()
    assert found["note"].str.contains("of one length").all()


def test_one_hot_vectors_are_not_tested_and_scale_changes_nothing():
    table = neighbours(np.eye(6), 2, draws=99)
    assert table[["p_value", "p_adjusted"]].isna().all(axis=None)
    assert table["note"].str.contains("of one length").all()
    weights = np.random.default_rng(5).normal(size=(9, 7))
    wanted = neighbours(weights, 2, draws=99)
    assert (wanted["note"] == "").all()
    for scale in (1e-6, 1e6):
        found = neighbours(weights * scale, 2, draws=99)
        pd.testing.assert_frame_equal(found, wanted, atol=1e-12)


def test_where_units_are_exchanged_their_chances_stay():
    weights = np.random.default_rng(6).normal(size=(12, 8))
    first = neighbours(weights, 1, draws=800)["p_value"]
    second = neighbours(weights[:, ::-1], 1, draws=800)["p_value"]
    assert_allclose(first, second, atol=0.09)  # 3.5 errors


def test_planted_neighbours_beat_chance_and_the_others_do_not():
    rng = np.random.default_rng(2)
    weights = rng.normal(size=(40, 64))
    weights[1] = weights[0] + 0.5 * rng.normal(size=64)
    table = neighbours(weights, 1, draws=999).set_index("concept")
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
    with pytest.raises(InputError, match="names is a list of names"):
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
    with pytest.raises(InputError, match="sums is a list of names"):
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
