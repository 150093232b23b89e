"""Figures of an embedding space draw what they are given."""

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy.cluster.hierarchy import leaves_list

from conceptlab.analysis.vectors.analogies import analogies
from conceptlab.analysis.vectors.clusters import hierarchy
from conceptlab.analysis.vectors.projection import project
from conceptlab.views.plots import space as plots
from conceptlab.views.style import category_colors
from tests.analysis.vectors.test_clusters import embedding, planted


@pytest.fixture
def ax():
    return Figure().subplots()


@pytest.fixture(scope="module")
def vectors():
    rows, truth = planted()
    names = ["$a$", "_b", *[f"c{i}" for i in range(30)]]
    return embedding(rows, [("color", "object")[t % 2] for t in truth], names)


def test_every_concept_has_its_point_and_some_their_name(vectors, ax):
    found = project(vectors, "pca")
    assert plots.plot_projection(found, ax=ax) is ax
    drawn = np.vstack([c.get_offsets() for c in ax.collections])
    wanted = found.table[["x", "y"]].to_numpy()
    np.testing.assert_allclose(np.sort(drawn, axis=0), np.sort(wanted, axis=0))
    places = {t.get_text(): t.xy for t in ax.texts}
    assert 5 < len(places) <= 32
    for text, place in places.items():
        row = found.table[found.table["concept"] == text.replace(r"\$", "$").strip()].iloc[0]
        np.testing.assert_allclose(place, (row["x"], row["y"]))


def test_leaves_have_the_colour_of_their_category(vectors, ax):
    tree = hierarchy(vectors)
    plots.plot_tree(tree, ax=ax)
    colors = category_colors(["color", "object"])
    labels = ax.get_yticklabels()
    for label, leaf in zip(labels, leaves_list(tree.linkage), strict=True):
        row = tree.table.iloc[leaf]
        assert label.get_text().strip().replace(r"\$", "$") == row["concept"]
        assert mpl.colors.to_hex(label.get_color()) == colors[row["category"]].lower()


def test_cosines_stand_in_the_order_asked_for(vectors, ax):
    plots.plot_similarity(vectors, [3, 0, 7], ax=ax)
    wanted = vectors.similarity[np.ix_([3, 0, 7], [3, 0, 7])]
    np.testing.assert_allclose(ax.images[0].get_array(), wanted)
    other = plots.plot_similarity(vectors)
    order = np.argsort(vectors.concepts["category"], kind="stable")
    np.testing.assert_allclose(
        other.images[0].get_array(), vectors.similarity[np.ix_(order, order)]
    )


def test_ranks_of_analogies(vectors, ax):
    found = analogies(vectors, [("c1", "c9"), ("c2", "c10"), ("c3", "c11")], draws=19)
    plots.plot_analogies(found, ax=ax)
    near, rank = (c.get_offsets()[:, 0] for c in ax.collections)
    rows = found.table.sort_values("rank", kind="stable")
    np.testing.assert_allclose(rank, rows["rank"])
    np.testing.assert_allclose(near, rows["rank_near_c"])
