"""Settings that a caller gives: whole numbers, seeds, names; what they are not is said by name.

In a script a float, a text or nothing at all may stand where a count or a list of names belongs.
"""

from collections.abc import Iterable
from numbers import Integral
from typing import Any

from conceptlab.errors import InputError

SEEDS = 2**32  # what every generator takes
MOST = 2**31 - 1  # of what is counted: what every library takes


def require_number(value: Any, name: str, least: int) -> None:
    """Refuse what is no whole number, or too small or large a one.

    Raises:
        InputError: naming the argument and what it may be.

    >>> require_number(2.5, "draws", 0)
    Traceback (most recent call last):
    conceptlab.errors.InputError: draws is a whole number of at least 0; got 2.5
    """
    if not _whole(value) or value < least:
        raise InputError(f"{name} is a whole number of at least {least}; got {value!r}")
    if value > MOST:
        raise InputError(f"{name} is at most {MOST}; got {value}")


def require_seed(seed: Any) -> None:
    """Refuse what is no seed.

    Raises:
        InputError: saying what it may be.
    """
    if not _whole(seed) or seed < 0:
        raise InputError(f"seed is a whole number of at least 0; got {seed!r}")
    if seed >= SEEDS:
        raise InputError(f"seed is below 2**32; got {seed}")


def require_names(value: Any, name: str) -> None:
    """Refuse what is no list of texts, such as a single one.

    Raises:
        InputError: naming the argument.

    >>> require_names("sky", "plus")
    Traceback (most recent call last):
    conceptlab.errors.InputError: plus is a list of names; got 'sky'
    """
    fits = isinstance(value, Iterable) and not isinstance(value, str | bytes)
    if not fits or not all(isinstance(one, str) for one in value):
        raise InputError(f"{name} is a list of names; got {value!r}")


def _whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)
