"""Patterns of two colours."""

from collections.abc import Callable

import numpy as np

from conceptlab.data.scenes.canvas import SIDE, Pattern


def _axes() -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    return y, x


def striped(rng: np.random.Generator) -> Pattern:
    """Parallel stripes in a direction of their own."""
    y, x = _axes()
    angle, period = rng.choice([0.0, np.pi / 2, rng.uniform(0, np.pi)]), rng.integers(6, 13)
    along: Pattern = (x * np.cos(angle) + y * np.sin(angle)) % period < period / 2
    return along


def dotted(rng: np.random.Generator) -> Pattern:
    """Discs on a staggered lattice."""
    y, x = _axes()
    period = int(rng.integers(8, 14))
    shift = (y // period % 2) * (period // 2)
    dx, dy = (x + shift) % period - period / 2, y % period - period / 2
    dots: Pattern = np.hypot(dx, dy) < period * 0.28
    return dots


def chequered(rng: np.random.Generator) -> Pattern:
    """Squares in turn."""
    y, x = _axes()
    period = int(rng.integers(4, 9))
    squares: Pattern = (x // period + y // period) % 2 == 0
    return squares


def zigzagged(rng: np.random.Generator) -> Pattern:
    """Bands that go up and down."""
    y, x = _axes()
    period = int(rng.integers(8, 14))
    bands: Pattern = (y + np.abs(x % period - period / 2)) % period < period / 2
    return bands


def gridded(rng: np.random.Generator) -> Pattern:
    """Thin lines across and down."""
    y, x = _axes()
    period = int(rng.integers(7, 13))
    lines: Pattern = (x % period < 2) | (y % period < 2)
    return lines


def marbled(rng: np.random.Generator) -> Pattern:
    """Smooth blotches."""
    y, x = _axes()
    field = np.zeros((SIDE, SIDE))
    for _ in range(5):
        fx, fy, phase = rng.uniform(-0.35, 0.35), rng.uniform(-0.35, 0.35), rng.uniform(0, 6.3)
        field += np.sin(fx * x + fy * y + phase)
    blotches: Pattern = field > 0.4
    return blotches


TEXTURES: dict[str, Callable[[np.random.Generator], Pattern]] = {
    "striped": striped,
    "dotted": dotted,
    "chequered": chequered,
    "zigzagged": zigzagged,
    "gridded": gridded,
    "marbled": marbled,
}
