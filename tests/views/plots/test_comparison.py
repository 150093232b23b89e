"""Figures of comparisons draw what their tables hold."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import conceptlab as cl
from conceptlab.analysis.comparison.runs import zoom
from conceptlab.views.plots import comparison as plots
from tests.analysis.comparison.test_runs import labelled, moved, runs


@pytest.fixture
def ax():
    return Figure().subplots()


@pytest.fixture(scope="module")
def spaces():
    rng = np.random.default_rng(0)
    base = rng.normal(size=(12, 40))
    return {"one": labelled(base), "$two$": labelled(base + 0.2 * rng.normal(size=base.shape)),
            "three": labelled(rng.normal(size=(12, 40)))}  # fmt: skip


def written(ax):
    return np.array([float(t.get_text().strip("()")) for t in ax.texts])


def test_distances_fill_the_matrix(spaces, ax):
    found = cl.embedding_distance(spaces)
    assert plots.plot_distances(found.table, ax=ax) is ax
    np.testing.assert_allclose(ax.images[0].get_array(), found.matrix)
    np.testing.assert_allclose(written(ax), found.matrix.to_numpy().ravel(), rtol=0.05)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["one", r"\$two\$", "three"]


def test_numbers_in_the_matrix_stand_out_from_their_cells(spaces, ax):
    plots.plot_distances(cl.embedding_distance(spaces).table, ax=ax)
    image = ax.images[0]
    for text in ax.texts:
        x, y = (int(v) for v in text.get_position())
        red, green, blue, _ = image.cmap(image.norm(image.get_array()[y, x]))
        cell = 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2
        ink = 1.0 if text.get_color() == "white" else 0.0
        assert (max(cell, ink) + 0.05) / (min(cell, ink) + 0.05) > 3


def test_categories_have_a_column_and_pairs_a_row_once(spaces, ax):
    found = cl.embedding_distance(spaces).by_category
    plots.plot_distances_by_category(found, ax=ax)
    drawn = np.asarray(ax.images[0].get_array())
    names = [t.get_text() for t in ax.get_yticklabels()]
    assert sorted(names) == [r"\$two\$ - three", r"one - \$two\$", "one - three"]
    own = found.set_index(["i", "j", "category"])["distance"]
    wanted = [own["one", "three", c] for c in ("animal", "thing")]
    np.testing.assert_allclose(drawn[names.index("one - three")], wanted)
    assert (np.diff(drawn.mean(axis=1)) <= 0).all()


def test_what_chance_may_have_done_stands_in_brackets(spaces, ax):
    found = cl.compare(spaces, ["rsa-spearman", "predictivity"], draws=99)
    plots.plot_comparison(found, "rsa-spearman", ax=ax)
    drawn = np.asarray(ax.images[0].get_array())
    np.testing.assert_allclose(drawn, drawn.T)
    assert np.isnan(np.diag(drawn)).all()
    rows = found[found["measure"] == "rsa-spearman"]
    texts = [t.get_text() for t in ax.texts]
    assert sum("(" in t for t in texts) == 2 * (rows["p_value"] > 0.05).sum() > 0
    assert sum("(" not in t for t in texts) == 2 * (rows["p_value"] <= 0.05).sum() > 0


def test_measures_that_are_not_symmetric_keep_both_orders(spaces, ax):
    found = cl.compare(spaces, ["predictivity"], draws=0)
    plots.plot_comparison(found, "predictivity", ax=ax)
    own = found.set_index(["i", "j"])["value"]
    assert ax.images[0].get_array()[0, 1] == pytest.approx(own["one", "$two$"])
    assert ax.images[0].get_array()[1, 0] == pytest.approx(own["$two$", "one"])


def test_zoom_fills_what_is_significant(ax):
    rng = np.random.default_rng(1)
    base = rng.normal(size=(24, 40))
    found = zoom({"a": [labelled(r) for r in runs(rng, base, 2, 0.1)],
                  "b": [labelled(r) for r in runs(rng, moved(base, rng, 7), 2, 0.1)]})  # fmt: skip
    rows = found.by_concept
    plots.plot_zoom(rows, ax=ax)
    within, between = ax.collections[1:3]
    np.testing.assert_allclose(between.get_offsets()[:, 0], rows["between"])
    np.testing.assert_allclose(within.get_offsets()[:, 0], rows["within"])
    white = [mpl.colors.to_hex(c) == "#ffffff" for c in between.get_facecolors()]
    assert white == list(rows["p_value"] >= 0.05)
    assert ax.get_yticklabels()[0].get_text() == "c7"
    assert ax.texts[0].get_text() == "a - b"


def test_without_runs_zoom_has_the_distances_alone(ax):
    rng = np.random.default_rng(2)
    found = zoom({"a": rng.normal(size=(5, 3)), "b": rng.normal(size=(5, 3))})
    plots.plot_zoom(found.whole, ax=ax)
    assert len(ax.collections[2].get_offsets()) == 1
    assert isinstance(plots.plot_zoom(pd.DataFrame(found.by_concept)), type(ax))
