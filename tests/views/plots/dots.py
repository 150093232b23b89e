"""What a matrix of dots draws, for the tests of the figures that are one."""

import numpy as np
from matplotlib.colors import to_hex


def dots(ax):
    """Place to (size, face, edge) of every dot drawn, and places of crosses."""
    found, crosses = {}, set()
    for group in ax.collections:
        offsets, faces = group.get_offsets(), group.get_facecolors()
        for k, (x, y) in enumerate(np.ma.filled(offsets, np.nan)):
            if not group.get_paths()[0].codes.tolist().count(79):  # not closed: no circle
                crosses.add((int(y), int(x)))
                continue
            face = to_hex(faces[k % len(faces)])
            found[int(y), int(x)] = group.get_sizes()[k], face, to_hex(group.get_edgecolors()[k])
    return found, crosses


def require_names_hatches_and_a_cross(ax):
    """Of 4 concepts and 3 classes: the first cell undefined, the vector of the second no good."""
    assert [t.get_text() for t in ax.get_yticklabels()] == [rf"\$c\${i}" for i in range(4)]
    assert [t.get_text() for t in ax.get_xticklabels()] == [f"class {j}" for j in range(3)]
    assert [band.get_y() for band in ax.patches] == [0.5]
    assert ax.patches[0].get_hatch()
    found, crosses = dots(ax)
    assert (0, 0) not in found
    assert crosses == {(0, 0)}
    said = [t.get_text() for t in ax.get_legend().get_texts()]
    assert said == ["vector no better than chance", "1", "3", "8", "adjusted p < 0.05"]
