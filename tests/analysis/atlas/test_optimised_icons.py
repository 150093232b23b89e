"""Icons by optimisation: they look like their own cell to the network, and like no other."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import conceptlab as cl
from conceptlab.errors import SpaceError
from conceptlab.vectors import unit_rows

LAYER = "features.17"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A small atlas of drawn scenes with its icons, by patches and by optimisation."""
    model, data = cl.load_model("builtin:scenenet"), cl.load_data("scenes:n=60")
    acts = cl.extract(model, data, [LAYER], cache=tmp_path_factory.mktemp("cells"))[LAYER]
    layout = cl.Layout("tsne", grids=(2, 3), per_image=4)
    atlas = cl.atlas(acts, layout=layout)
    patches = cl.patch_icons(atlas, acts, data)
    return model, atlas, patches, cl.optimised_icons(atlas, model, patches, steps=96)


def test_each_icon_has_the_direction_of_its_own_cell_and_more_so_than_a_patch(made):
    model, atlas, patches, icons = made
    cells = unit_rows(atlas.grids[-1].means)

    def near(own):
        """(m, m) cosine of what the network makes of each icon with each cell's average."""
        pooled = [
            model.activations(Image.fromarray(icon), [LAYER])[LAYER][0].mean(axis=(1, 2))
            for icon in own.icons
        ]
        return unit_rows(np.array(pooled)) @ cells.T

    found = near(icons[-1])
    assert len(cells) > 5
    assert (found.argmax(axis=1) == np.arange(len(cells))).mean() >= 0.75
    assert np.diag(found).mean() > np.diag(near(patches[-1])).mean() + 0.05


def test_patches_and_sizes_stay_and_the_seed_decides(made):
    model, atlas, patches, icons = made
    for before, after in zip(patches, icons, strict=True):
        assert np.array_equal(before.patches, after.patches)
        assert before.icons.shape == after.icons.shape
        assert (before.icons != after.icons).any(axis=(1, 2, 3)).all()
    some = replace(atlas, grids=atlas.grids[:1])
    again = [cl.optimised_icons(some, model, patches[:1], steps=3, seed=s)[0] for s in (1, 1, 2)]
    assert np.array_equal(again[0].icons, again[1].icons)
    assert not np.array_equal(again[0].icons, again[2].icons)


def test_another_network_is_refused(made):
    _, atlas, patches, _ = made
    with pytest.raises(SpaceError, match="belong to scenenet"):
        cl.optimised_icons(atlas, cl.load_model("builtin:sceneres"), patches)
