"""The largest value of every map of a block, without turning float16 into anything wider.

The bits of a floating-point number, with those of a negative one flipped but for its sign, order as
the numbers do when they are read as a signed integer. So a maximum is one of integers, which the
compiler takes many at a time.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

#: Bytes of a value to: its integer, bits but for the sign, the pattern of infinity, its float.
KINDS = {
    2: (np.int16, 0x7FFF, 0x7C00, np.float16),
    4: (np.int32, 0x7FFFFFFF, 0x7F800000, np.float32),
}


@njit(nogil=True, cache=True)
def _largest(bits, shift, unsigned, infinite, out, broken):
    """The largest key of each map (n, K, P), and whether it holds NaN; -0 counts as 0."""
    for image in range(bits.shape[0]):
        for unit in range(bits.shape[1]):
            top = np.int64(-(1 << 40))
            size = np.int64(0)
            for place in range(bits.shape[2]):
                here = bits[image, unit, place]
                key = here ^ ((here >> shift) & unsigned)
                key = key + (key == -1)  # -0, whose key comes just before that of 0
                top = max(top, key)
                size = max(size, here & unsigned)
            out[image, unit] = top
            broken[image, unit] = size > infinite


def map_maxima(maps: NDArray[np.floating]) -> NDArray[np.float32]:
    """The largest value of each map.

    Args:
        maps: (n, K, H, W) float16 or float32.

    Returns:
        (n, K), NaN where a map holds NaN.
    """
    kind, unsigned, infinite, floating = KINDS[maps.dtype.itemsize]
    flat = np.ascontiguousarray(maps).reshape(*maps.shape[:2], -1).view(kind)
    keys = np.empty(maps.shape[:2], dtype=kind)
    broken = np.empty(maps.shape[:2], dtype=bool)
    shift = 8 * maps.dtype.itemsize - 1
    _largest(flat, kind(shift), kind(unsigned), kind(infinite), keys, broken)
    bits = keys ^ ((keys >> kind(shift)) & kind(unsigned))
    return np.where(broken, np.float32(np.nan), bits.view(floating).astype(np.float32))
