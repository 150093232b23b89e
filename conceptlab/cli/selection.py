"""What of a layer is meant: which units, and which vectors of a file."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from conceptlab.errors import InputError

if TYPE_CHECKING:
    from conceptlab.vectors import ConceptVectors

SPREAD = 8  # units that are shown where none are named


def spread(count: int) -> list[int]:
    """A few units of so many, evenly spaced."""
    return sorted({round(i * (count - 1) / (SPREAD - 1)) for i in range(SPREAD)})


def vectors_of(
    path: Path | None, concepts: Sequence[str] | None, layer: str
) -> "ConceptVectors | None":
    """Those of a file that are asked for.

    Raises:
        InputError: concepts without a file, or vectors of another layer.
    """
    from conceptlab.vectors import ConceptVectors

    if path is None:
        if concepts:
            raise InputError("--concept names vectors of a file: give it with --vectors")
        return None
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    found = ConceptVectors.load(path)
    if found.space.layer != layer:
        raise InputError(f"{path} holds vectors of {found.space.layer}, and -l says {layer}")
    return found.select(list(concepts)) if concepts else found.select(lambda _: found.usable)
