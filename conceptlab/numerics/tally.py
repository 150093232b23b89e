"""Overlap of every unit's mask with every concept, without upsampling a map that is all zero.

Bau et al. 2017 and Fong & Vedaldi 2018, eq. 1. A label pixel lies between four cells of the layer;
its interpolated value can exceed the level only if one of the four does. So per image and unit only
the quads of cells around an active one are visited, and each pixel found in the mask is counted for
the concepts that it shows. Letters as in `conceptlab.numerics.pixelwise`.
"""

import numpy as np
from numba import njit


@njit(nogil=True, error_model="numpy")
def _visit(row, column, values, level, geometry, image, labels, concepts, by_pattern):
    """Count the mask's pixels inside one quad of cells."""
    xs, ys = geometry
    planes, first, last, pattern = labels
    bottom = min(row + 1, values.shape[0] - 1)
    right = min(column + 1, values.shape[1] - 1)
    v00, v01 = values[row, column], values[row, right]
    v10, v11 = values[bottom, column], values[bottom, right]
    for y in range(ys[3][row], ys[3][row + 1]):
        left_value = v00 + ys[2][y] * (v10 - v00)
        step = v01 + ys[2][y] * (v11 - v01) - left_value
        for x in range(xs[3][column], xs[3][column + 1]):
            if left_value + xs[2][x] * step > level:
                by_pattern[pattern[image, y, x]] += 1
                for plane in range(first, last):
                    concept = planes[plane, y, x]
                    if concept >= 0:
                        concepts[concept] += 1


@njit(nogil=True, error_model="numpy")
def _mask_counts(cells, values, level, geometry, image, labels, stamp, mark, concepts, by_pattern):
    """Count one unit's mask in one image; `cells` are those above the level."""
    width = values.shape[1]
    for entry in range(cells.shape[0]):
        row, column = cells[entry] // width, cells[entry] % width
        for r in range(max(row - 1, 0), row + 1):
            for c in range(max(column - 1, 0), column + 1):
                if stamp[r, c] != mark:
                    stamp[r, c] = mark
                    _visit(r, c, values, level, geometry, image, labels, concepts, by_pattern)


@njit(nogil=True, error_model="numpy")
def _add(unit, image, shows, labelled, groups, concepts, by_pattern, both, area):
    """Add one mask's counts to the totals of the concepts that this image speaks of."""
    for c in range(shows.shape[1]):
        if shows[image, c]:
            both[unit, c] += concepts[c]
            for p in range(by_pattern.shape[0]):
                if labelled[p, groups[c]]:
                    area[unit, c] += by_pattern[p]
    concepts[:] = 0
    by_pattern[:] = 0


@njit(nogil=True, cache=True)
def tally_binary(
    offsets, index, plane_offsets, planes, pattern, labelled, groups, shows, units, xs, ys
):
    """Counts for masks thresholded first, then upsampled: [up(1[A > T]) > 1/2].

    Args:
        offsets: (n + 1,) into index; index: active (unit, cell) pairs, ascending in each image.
        plane_offsets: (n + 1,) into planes; planes: (P, h, w) concept ids, -1 for none.
        pattern: (n, h, w) rows of labelled; labelled: (patterns, G); groups: (C,) in 0..G-1.
        shows: (n, C) whether the image counts for the concept (eq. 1: it contains it).
        units: K.
        xs: (low, high, t, start) of the columns; ys: of the rows.

    Returns:
        |M and L| (K, C), |M| (K, C), int64.
    """
    height, width = ys[3].shape[0] - 1, xs[3].shape[0] - 1
    cells = height * width
    both = np.zeros((units, shows.shape[1]), np.int64)
    area = np.zeros((units, shows.shape[1]), np.int64)
    values = np.zeros((height, width))
    flat = values.reshape(cells)
    stamp = np.full((height, width), -1, np.int64)
    concepts = np.zeros(shows.shape[1], np.int64)
    by_pattern = np.zeros(labelled.shape[0], np.int64)
    own = np.empty(cells, np.int64)
    mark = 0
    for image in range(offsets.shape[0] - 1):
        labels = (planes, plane_offsets[image], plane_offsets[image + 1], pattern)
        entry = offsets[image]
        while entry < offsets[image + 1]:
            unit = np.int64(index[entry]) // cells
            count = 0
            while entry < offsets[image + 1] and np.int64(index[entry]) // cells == unit:
                own[count] = np.int64(index[entry]) % cells
                flat[own[count]] = 1.0
                count += 1
                entry += 1
            mark += 1
            _mask_counts(
                own[:count],
                values,
                0.5,
                (xs, ys),
                image,
                labels,
                stamp,
                mark,
                concepts,
                by_pattern,
            )
            for i in range(count):
                flat[own[i]] = 0.0
            _add(unit, image, shows, labelled, groups, concepts, by_pattern, both, area)
    return both, area


@njit(nogil=True, cache=True)
def tally_values(
    activations, thresholds, plane_offsets, planes, pattern, labelled, groups, shows, xs, ys
):
    """Counts for masks upsampled first, then thresholded: [up(A) > T], NetDissect's order.

    Args:
        activations: (n, K, H, W) float32.
        thresholds: (K,) float32.
        plane_offsets: as the other arguments, in `tally_binary`.
        planes: see there.
        pattern: see there.
        labelled: see there.
        groups: see there.
        shows: see there.
        xs: see there.
        ys: see there.

    Returns:
        |M and L| (K, C), |M| (K, C), int64.
    """
    images, units, height, width = activations.shape
    both = np.zeros((units, shows.shape[1]), np.int64)
    area = np.zeros((units, shows.shape[1]), np.int64)
    values = np.zeros((height, width))
    stamp = np.full((height, width), -1, np.int64)
    concepts = np.zeros(shows.shape[1], np.int64)
    by_pattern = np.zeros(labelled.shape[0], np.int64)
    own = np.empty(height * width, np.int64)
    mark = 0
    for image in range(images):
        labels = (planes, plane_offsets[image], plane_offsets[image + 1], pattern)
        for unit in range(units):
            count = 0
            for row in range(height):
                for column in range(width):
                    value = activations[image, unit, row, column]
                    values[row, column] = value
                    if value > thresholds[unit]:
                        own[count] = row * width + column
                        count += 1
            if count:
                mark += 1
                _mask_counts(
                    own[:count],
                    values,
                    np.float64(thresholds[unit]),
                    (xs, ys),
                    image,
                    labels,
                    stamp,
                    mark,
                    concepts,
                    by_pattern,
                )
                _add(unit, image, shows, labelled, groups, concepts, by_pattern, both, area)
    return both, area
