"""Per-pixel losses and scores of linear concept maps, without ever upsampling K maps.

Fong & Vedaldi 2018, eq. 2-4. A weighted sum of units and bilinear upsampling commute, so each image
costs one small map per concept that it shows (`conceptlab.activations.inputs` makes it). Per
concept and image the pixels are visited once, row by row, in cache: interpolate, sigmoid, loss, and
the gradient brought back to the cells. The arithmetic is float32 per image and float64 across
images.

The kernels take one chunk of images (see `conceptlab.activations.stream.Chunk`); letters:
n images, P planes of labels, J (image, concept) pairs, H W cells, h w label pixels.
"""

from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

Array = NDArray[Any]

BCE, NET2VEC = 0, 1


@intrinsic
def _float_from_bits(typing_context: Any, bits: Any) -> Any:
    """The float32 with the bits of an int32 (a bitcast, which a scalar `view` is not)."""

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], context.get_value_type(types.float32))

    return types.float32(types.int32), generate


@njit(inline="always", fastmath=True, error_model="numpy")
def _exp_of_negative(x):
    """exp(x) for x <= 0 in float32, to 2e-7 of its value; branch-free, so that it vectorises."""
    x = x if x > np.float32(-87.0) else np.float32(-87.0)
    n = np.floor(x * np.float32(1.44269504) + np.float32(0.5))
    r = x - n * np.float32(0.693359375) + n * np.float32(2.12194440e-4)
    y = np.float32(1.9875691500e-4)
    y = y * r + np.float32(1.3981999507e-3)
    y = y * r + np.float32(8.3334519073e-3)
    y = y * r + np.float32(4.1665795894e-2)
    y = y * r + np.float32(1.6666665459e-1)
    y = y * r + np.float32(5.0000001201e-1)
    y = y * r * r + r + np.float32(1.0)
    return y * _float_from_bits(  # type: ignore[call-arg] # numba gives the first
        np.int32((np.int32(n) + np.int32(127)) * np.int32(8388608))
    )


@njit(inline="always", fastmath=True, error_model="numpy")
def _log_one_plus(e):
    """log(1 + e) for e in 0..1 in float32: 2 artanh(e / (2 + e))."""
    s = e / (np.float32(2.0) + e)
    q = s * s
    y = np.float32(0.0909090909)
    y = y * q + np.float32(0.1111111111)
    y = y * q + np.float32(0.1428571429)
    y = y * q + np.float32(0.2)
    y = y * q + np.float32(0.3333333333)
    return np.float32(2.0) * s * (y * q + np.float32(1.0))


@njit(nogil=True, fastmath=True, error_model="numpy")
def _row_bce(zs, pos, val, y, alpha, g):
    """One row of pixels: the loss, and its derivative with respect to each logit into g."""
    one = np.float32(1.0)
    total = np.float32(0.0)
    for x in range(zs.shape[0]):
        z = zs[x]
        e = _exp_of_negative(-abs(z))
        r = one / (one + e)
        p = r if z >= 0 else e * r
        weight = (one - alpha) * val[y, x] + (alpha + alpha - one) * pos[y, x]
        target = alpha * pos[y, x]
        total += weight * ((z if z > 0 else np.float32(0.0)) + _log_one_plus(e)) - target * z
        g[x] = weight * p - target
    return total


@njit(nogil=True, fastmath=True, error_model="numpy")
def _row_net2vec(zs, pos, val, y, alpha, g):
    """The same for eq. 4 as printed, which has no logarithm."""
    one = np.float32(1.0)
    total = np.float32(0.0)
    for x in range(zs.shape[0]):
        z = zs[x]
        e = _exp_of_negative(-abs(z))
        r = one / (one + e)
        p = r if z >= 0 else e * r
        inside = alpha * pos[y, x]
        outside = (one - alpha) * (val[y, x] - pos[y, x])
        total -= inside * p + outside * (one - p)
        g[x] = (outside - inside) * p * (one - p)
    return total


@njit(nogil=True, error_model="numpy")
def mark_concept(planes, first, last, concept, pos):
    """Where any of planes[first:last] (P, h, w) holds the concept: 1 into pos (h, w), else 0."""
    for y in range(pos.shape[0]):
        for x in range(pos.shape[1]):
            pos[y, x] = np.float32(planes[first, y, x] == concept)
        for plane in range(first + 1, last):
            for x in range(pos.shape[1]):
                here = np.float32(planes[plane, y, x] == concept)
                pos[y, x] = here if here > pos[y, x] else pos[y, x]


@njit(nogil=True, error_model="numpy")
def mark_labelled(pattern, labelled, group, val):
    """1 into val (h, w) where the category is labelled, else 0.

    `labelled` is (patterns, G), `pattern` (h, w) an index into its rows.
    """
    h, w = val.shape
    for y in range(h):
        for x in range(w):
            val[y, x] = np.float32(labelled[pattern[y, x], group])


@njit(nogil=True, error_model="numpy")
def _active(index, cells):
    """Units and cells of active pairs, taken apart once for all concepts of an image."""
    unit = np.empty(index.shape[0], np.uint32)
    cell = np.empty(index.shape[0], np.uint32)
    for entry in range(index.shape[0]):
        code = np.uint32(index[entry])
        unit[entry] = code // np.uint32(cells)
        cell[entry] = code - unit[entry] * np.uint32(cells)
    return unit, cell


@njit(nogil=True, cache=True)
def active_maps(offsets, index, pair_offsets, pair_concepts, weights, bias, cells):
    """Logits at the cells of each (image, concept) pair: active units' weights summed, plus a bias.

    Args:
        offsets: (n + 1,) into index; index: active (unit, cell) pairs of each image, as
            unit * cells + cell.
        pair_offsets: (n + 1,) into pair_concepts: the concepts of each image.
        weights: (C, K) float32; bias: (C,) float32.
        cells: H * W.

    Returns:
        (J, cells) float32.
    """
    maps = np.empty((pair_concepts.shape[0], cells), np.float32)
    for image in range(offsets.shape[0] - 1):
        unit, cell = _active(index[offsets[image] : offsets[image + 1]], cells)
        for pair in range(pair_offsets[image], pair_offsets[image + 1]):
            row, own = weights[pair_concepts[pair]], maps[pair]
            own[:] = bias[pair_concepts[pair]]
            for entry in range(unit.shape[0]):
                own[cell[entry]] += row[unit[entry]]
    return maps


@njit(nogil=True, cache=True)
def active_gradient(offsets, index, pair_offsets, pair_concepts, d_maps, shape):
    """The gradient (C, K) of the weights, float64, from that of the maps (J, cells).

    Arguments as in `active_maps`; `shape` is (C, K).
    """
    gradient = np.zeros(shape)
    cells = d_maps.shape[1]
    for image in range(offsets.shape[0] - 1):
        unit, cell = _active(index[offsets[image] : offsets[image + 1]], cells)
        for pair in range(pair_offsets[image], pair_offsets[image + 1]):
            row, own = gradient[pair_concepts[pair]], d_maps[pair]
            for entry in range(unit.shape[0]):
                row[unit[entry]] += own[cell[entry]]
    return gradient


@njit(nogil=True, fastmath=True, error_model="numpy")
def widen(z, low, high, t, width, out):
    """Rows of cells (H * W,) interpolated along x: out (H, w)."""
    for row in range(out.shape[0]):
        base = row * width
        for x in range(out.shape[1]):
            left = z[base + low[x]]
            out[row, x] = left + t[x] * (z[base + high[x]] - left)


@njit(nogil=True, fastmath=True, error_model="numpy")
def _narrow(g, low, high, t, width, out):
    """The transpose of `widen`: (H, w) brought back to cells, into out (H * W,)."""
    out[:] = 0
    for row in range(g.shape[0]):
        base = row * width
        for x in range(g.shape[1]):
            right = t[x] * g[row, x]
            out[base + high[x]] += right
            out[base + low[x]] += g[row, x] - right


@njit(nogil=True, fastmath=True, error_model="numpy")
def _image_loss(wide, ys, pos, val, alpha, mode, first, stride, gradient):
    """Loss of one (image, concept) pair from its widened rows; d loss / d wide into gradient.

    Both are scaled from the rows that are visited to all rows.
    """
    low, high, t = ys
    w = wide.shape[1]
    z = np.empty(w, np.float32)
    g = np.empty(w, np.float32)
    gradient[:] = 0
    total = 0.0
    one = np.float32(1.0)
    visited = (pos.shape[0] - first + stride - 1) // stride
    scale = pos.shape[0] / visited
    for y in range(first, pos.shape[0], stride):
        above, below, ty = low[y], high[y], t[y]
        upper, lower = np.float32((one - ty) * scale), np.float32(ty * scale)
        for x in range(w):
            z[x] = wide[above, x] + ty * (wide[below, x] - wide[above, x])
        if mode == BCE:
            total += _row_bce(z, pos, val, y, alpha, g)
        else:
            total += _row_net2vec(z, pos, val, y, alpha, g)
        for x in range(w):
            gradient[above, x] += upper * g[x]
        for x in range(w):
            gradient[below, x] += lower * g[x]
    return total * scale


@njit(nogil=True, cache=True)
def chunk_loss(
    maps,
    plane_offsets,
    planes,
    pattern,
    labelled,
    groups,
    pair_offsets,
    pair_concepts,
    alpha,
    xs,
    ys,
    mode,
    first,
    stride,
):
    """Summed loss of a chunk's (image, concept) pairs, and its gradient with respect to their maps.

    Args:
        maps: (J, H * W) float32 logits at the cells.
        plane_offsets: (n + 1,) into planes; planes: (P, h, w) concept ids.
        pattern: (n, h, w) rows of labelled; labelled: (patterns, G); groups: (C,) in 0..G-1.
        pair_offsets: (n + 1,) into pair_concepts: the concepts that each image trains.
        alpha: (C,) float32.
        xs: (low, high, t) of the columns; ys: of the rows (t in float32).
        mode: `BCE` or `NET2VEC`.
        first: (n,) the first row of pixels that is visited of each image, within them.
        stride: visit every row from there (1), or every stride-th; sums are scaled to all rows.

    Returns:
        loss (C,) float64, gradient (J, H * W) float32.
    """
    h, w = pattern.shape[1], pattern.shape[2]
    height = ys[1].max() + 1
    width = xs[1].max() + 1
    loss = np.zeros(alpha.shape[0])
    d_maps = np.empty_like(maps)
    wide = np.empty((height, w), np.float32)
    back = np.empty((height, w), np.float32)
    pos = np.empty((h, w), np.float32)
    val = np.empty((h, w), np.float32)
    for image in range(pair_offsets.shape[0] - 1):
        group = -1
        for pair in range(pair_offsets[image], pair_offsets[image + 1]):
            c = pair_concepts[pair]
            if groups[c] != group:
                group = groups[c]
                mark_labelled(pattern[image], labelled, group, val)
            mark_concept(planes, plane_offsets[image], plane_offsets[image + 1], np.int16(c), pos)
            widen(maps[pair], xs[0], xs[1], xs[2], width, wide)
            loss[c] += _image_loss(wide, ys, pos, val, alpha[c], mode, first[image], stride, back)
            _narrow(back, xs[0], xs[1], xs[2], width, d_maps[pair])
    return loss, d_maps


@njit(nogil=True, cache=True)
def chunk_counts(
    maps,
    plane_offsets,
    planes,
    pattern,
    labelled,
    groups,
    pair_offsets,
    pair_concepts,
    xs,
    ys,
):
    """Pixels of each (image, concept) pair: both predicted and labelled, predicted, labelled.

    Arguments as in `chunk_loss`; a pixel is predicted where its logit exceeds 0 (eq. 2 > 1/2), and
    pixels where the concept's category is unlabelled do not count.

    Returns:
        (J, 3) int64.
    """
    h, w = pattern.shape[1], pattern.shape[2]
    height = ys[1].max() + 1
    width = xs[1].max() + 1
    counts = np.zeros((pair_concepts.shape[0], 3), np.int64)
    wide = np.empty((height, w), np.float32)
    pos = np.empty((h, w), np.float32)
    val = np.empty((h, w), np.float32)
    for image in range(pair_offsets.shape[0] - 1):
        group = -1
        for pair in range(pair_offsets[image], pair_offsets[image + 1]):
            c = pair_concepts[pair]
            if groups[c] != group:
                group = groups[c]
                mark_labelled(pattern[image], labelled, group, val)
            mark_concept(planes, plane_offsets[image], plane_offsets[image + 1], np.int16(c), pos)
            widen(maps[pair], xs[0], xs[1], xs[2], width, wide)
            _count(wide, ys, pos, val, counts[pair])
    return counts


@njit(nogil=True, fastmath=True, error_model="numpy")
def _count(wide, ys, pos, val, out):
    low, high, t = ys
    for y in range(pos.shape[0]):
        above, below, ty = low[y], high[y], t[y]
        both, predicted, labelled = np.float32(0), np.float32(0), np.float32(0)
        for x in range(pos.shape[1]):
            z = wide[above, x] + ty * (wide[below, x] - wide[above, x])
            on = val[y, x] if z > np.float32(0.0) else np.float32(0.0)
            predicted += on
            both += on * pos[y, x]
            labelled += pos[y, x]
        out[0] += np.int64(both)
        out[1] += np.int64(predicted)
        out[2] += np.int64(labelled)


@njit(nogil=True, cache=True)
def chunk_histogram(
    maps,
    plane_offsets,
    planes,
    pattern,
    labelled,
    groups,
    pair_offsets,
    pair_concepts,
    xs,
    ys,
    bins,
):
    """Histograms of the predicted probability over unlabelled and labelled pixels.

    Arguments as in `chunk_loss`; `bins` equal bins over 0..1, without their lower
    edges.

    Returns:
        (C, 2, bins) int64: [:, 0] pixels without the concept, [:, 1] pixels with it.
    """
    h, w = pattern.shape[1], pattern.shape[2]
    height = ys[1].max() + 1
    width = xs[1].max() + 1
    counts = np.zeros((groups.shape[0], 2, bins), np.int64)
    wide = np.empty((height, w), np.float32)
    pos = np.empty((h, w), np.float32)
    val = np.empty((h, w), np.float32)
    for image in range(pair_offsets.shape[0] - 1):
        group = -1
        for pair in range(pair_offsets[image], pair_offsets[image + 1]):
            c = pair_concepts[pair]
            if groups[c] != group:
                group = groups[c]
                mark_labelled(pattern[image], labelled, group, val)
            mark_concept(planes, plane_offsets[image], plane_offsets[image + 1], np.int16(c), pos)
            widen(maps[pair], xs[0], xs[1], xs[2], width, wide)
            _bin(wide, ys, pos, val, counts[c])
    return counts


@njit(nogil=True, fastmath=True, error_model="numpy")
def _bin(wide, ys, pos, val, out):
    low, high, t = ys
    one = np.float32(1.0)
    bins = np.float32(out.shape[1])
    place = np.empty(pos.shape[1], np.int32)
    for y in range(pos.shape[0]):
        above, below, ty = low[y], high[y], t[y]
        for x in range(pos.shape[1]):
            z = wide[above, x] + ty * (wide[below, x] - wide[above, x])
            e = _exp_of_negative(-abs(z))
            r = one / (one + e)
            p = r if z >= 0 else e * r
            spot = np.int32(np.ceil(p * bins)) - 1
            place[x] = spot if spot > 0 else 0
        for x in range(pos.shape[1]):
            if val[y, x] > 0:
                out[np.int64(pos[y, x]), place[x]] += 1
