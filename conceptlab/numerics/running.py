"""Streaming statistics: exact upper order statistics, and the largest values of each unit.

A floating-point number's bits, with the sign handled, order as the number does. So a float16 value
is one of 65,536 keys, and counting keys gives exact order statistics in one pass, in memory that
does not depend on how many values there are. A float32 value is two such keys: two passes.
"""

from collections.abc import Callable, Iterator
from fractions import Fraction

import numpy as np
from numba import njit
from numpy.typing import NDArray

from conceptlab.errors import InputError

Blocks = Callable[[], Iterator[NDArray[np.floating]]]
KEYS = 1 << 16


def tail_count(tau: float, total: int) -> int:
    """floor(tau * total), with tau as it is written in decimals.

    >>> tail_count(0.005, 1000), tail_count(0.29, 100)
    (5, 29)

    Raises:
        InputError: a tau outside 0 < tau < 1.
    """
    if not 0 < tau < 1:
        raise InputError(f"tau is the share of activations above the threshold, 0..1; got {tau}")
    return int(Fraction(repr(float(tau))) * total)


@njit(nogil=True, error_model="numpy")
def _key16(bits):
    """The rank of a float16 among all, from its bits; -0 ranks as 0."""
    wide = np.int64(bits)
    if wide == 0x8000:
        wide = np.int64(0)
    return 0xFFFF - wide if wide & 0x8000 else wide + 0x8000


@njit(nogil=True, error_model="numpy")
def _key32(bits):
    """The rank of a float32 among all, from its bits; -0 ranks as 0."""
    wide = np.int64(bits)
    if wide == 0x80000000:
        wide = np.int64(0)
    return 0xFFFFFFFF - wide if wide & 0x80000000 else wide + 0x80000000


@njit(nogil=True, cache=True)
def _count16(bits, bound, top, counts):
    """Count keys above the bound of each unit in bits (n, K, P); top is the largest so far."""
    for image in range(bits.shape[0]):
        for unit in range(bits.shape[1]):
            least = bound[unit]
            for place in range(bits.shape[2]):
                key = _key16(bits[image, unit, place])
                if key > least:
                    counts[unit, key] += 1
                    top[unit] = max(top[unit], key)


@njit(nogil=True, cache=True)
def _count32(bits, bound, top, counts):
    """Count the upper halves of keys, of those whose upper half is above the bound."""
    for image in range(bits.shape[0]):
        for unit in range(bits.shape[1]):
            least = bound[unit]
            for place in range(bits.shape[2]):
                key = _key32(bits[image, unit, place]) >> 16
                if key > least:
                    counts[unit, key] += 1
                    top[unit] = max(top[unit], key)


@njit(nogil=True, cache=True)
def _count32_within(bits, prefix, counts):
    """Count the lower halves of the keys that have the unit's upper half."""
    for image in range(bits.shape[0]):
        for unit in range(bits.shape[1]):
            for place in range(bits.shape[2]):
                key = _key32(bits[image, unit, place])
                if key >> 16 == prefix[unit]:
                    counts[unit, key & 0xFFFF] += 1


@njit(nogil=True, cache=True)
def _descend(counts, top, after, keys, left):
    """From the top down: the key with `after` values behind it, and how many of those it holds.

    A unit with too few values so far keeps its key.
    """
    for unit in range(counts.shape[0]):
        behind = np.int64(0)
        for key in range(top[unit], -1, -1):
            here = np.int64(counts[unit, key])
            if behind + here > after[unit]:
                keys[unit] = key
                left[unit] = after[unit] - behind
                break
            behind += here


def _bits(block: NDArray[np.floating]) -> NDArray[np.unsignedinteger]:
    """(n, K, H * W) bit patterns of a block (n, K, H, W)."""
    kind = {2: np.uint16, 4: np.uint32}[block.dtype.itemsize]
    flat = np.ascontiguousarray(block).reshape(block.shape[0], block.shape[1], -1)
    return flat.view(kind)


def _float16_of(keys: NDArray[np.int64]) -> NDArray[np.float32]:
    bits = np.where(keys >= 0x8000, keys - 0x8000, 0xFFFF - keys).astype(np.uint16)
    return bits.view(np.float16).astype(np.float32)


def _float32_of(keys: NDArray[np.int64]) -> NDArray[np.float32]:
    bits = np.where(keys >= 0x80000000, keys - 0x80000000, 0xFFFFFFFF - keys).astype(np.uint32)
    return bits.view(np.float32)


def upper_order_statistic(
    blocks: Blocks, shape: tuple[int, ...], dtype: np.dtype[np.floating], tau: float
) -> NDArray[np.float32]:
    """T_k: the value of unit k that has exactly floor(tau * n) values after it, sorted ascending.

    Fong & Vedaldi 2018, section 3.1.1: P(a_k > T_k) = tau over all images and positions; with ties
    the share above is smaller.

    Args:
        blocks: called for each pass; gives blocks (n, K, H, W) in the stored dtype.
        shape: (N, K, H, W) of all blocks together.
        dtype: float16 (one pass) or float32 (two).
        tau: the share of values above, 0..1.

    Returns:
        (K,).
    """
    images, units, height, width = shape
    after = np.full(units, tail_count(tau, images * height * width), dtype=np.int64)
    half = dtype == np.float16
    upper, left = _tail_keys(blocks, _count16 if half else _count32, after)
    if half:
        return _float16_of(upper)
    counts = np.zeros((units, KEYS), dtype=np.uint32)
    for block in blocks():
        _count32_within(_bits(block), upper, counts)
    lower = np.zeros(units, dtype=np.int64)
    _descend(counts, np.full(units, KEYS - 1), left, lower, left.copy())
    return _float32_of((upper << 16) + lower)


def _tail_keys(
    blocks: Blocks, count: Callable[..., None], after: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """One pass: the key of each unit's order statistic, and how many values in it come after.

    A value with more than `after` values seen behind it is below the answer for good, so a bound
    that rises as the pass goes on spares nearly all of the counting.
    """
    units = len(after)
    counts = np.zeros((units, KEYS), dtype=np.uint32)  # pages that no key touches cost nothing
    bound, top = np.full(units, -1, dtype=np.int64), np.zeros(units, dtype=np.int64)
    left = np.zeros(units, dtype=np.int64)
    for number, block in enumerate(blocks()):
        count(_bits(block), bound - 1, top, counts)
        if number & (number + 1) == 0:  # after blocks 1, 2, 4, 8, ...
            _descend(counts, top, after, bound, left)
    _descend(counts, top, after, bound, left)
    return bound, left


@njit(nogil=True, cache=True)
def _active16(bits, keys, out, counts):
    places = bits.shape[2]
    total = 0
    for image in range(bits.shape[0]):
        before = total
        for unit in range(bits.shape[1]):
            for place in range(places):
                if _key16(bits[image, unit, place]) > keys[unit]:
                    out[total] = unit * places + place
                    total += 1
        counts[image] = total - before
    return total


@njit(nogil=True, cache=True)
def _active32(bits, keys, out, counts):
    places = bits.shape[2]
    total = 0
    for image in range(bits.shape[0]):
        before = total
        for unit in range(bits.shape[1]):
            for place in range(places):
                if _key32(bits[image, unit, place]) > keys[unit]:
                    out[total] = unit * places + place
                    total += 1
        counts[image] = total - before
    return total


def active_pairs(
    block: NDArray[np.floating], thresholds: NDArray[np.float32]
) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Which (unit, cell) pairs of each image exceed their unit's threshold: A_k > T_k.

    Args:
        block: (n, K, H, W) float16 or float32.
        thresholds: (K,), exactly representable in the block's type.

    Returns:
        unit * H * W + cell of every such pair, ascending in each image; and how many per image
        (n,).
    """
    bits = _bits(block)
    out = np.empty(bits.size, dtype=np.uint32)
    counts = np.zeros(bits.shape[0], dtype=np.int64)
    if bits.dtype == np.uint16:
        keys = np.array([_key16(b) for b in thresholds.astype(np.float16).view(np.uint16)])
        total = _active16(bits, keys, out, counts)
    else:
        keys = np.array([_key32(b) for b in thresholds.astype(np.float32).view(np.uint32)])
        total = _active32(bits, keys, out, counts)
    return out[:total].copy(), counts
