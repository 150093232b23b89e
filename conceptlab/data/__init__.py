"""Probe data sets: pictures with labels, from several sources."""

from conceptlab.data import broden as broden
from conceptlab.data import folder as folder
from conceptlab.data import pictures as pictures
from conceptlab.data import scenes as scenes
from conceptlab.data.base import SOURCES, Labels, ProbeDataset, Problem, parse_spec
from conceptlab.errors import InputError
from conceptlab.given import checked

__all__ = ["SOURCES", "Labels", "ProbeDataset", "Problem", "load_data"]


@checked
def load_data(spec: str) -> ProbeDataset:
    """The probe data set of a specification.

    Args:
        spec: `scenes[:n=1000,seed=0]`, `folder:PATH[,colors=true]`, `broden:PATH`, or
            `pictures:PATH` (no labels); a path that holds a comma or '=' in double quotes.

    Raises:
        InputError: an unknown source or option.
        DataError: what the source cannot read.
    """
    source = parse_spec(spec)[0]
    if ":" not in spec and source not in SOURCES:
        raise InputError(
            f"data is written SOURCE:PATH, with SOURCE one of {', '.join(SOURCES)}; got {spec!r}"
        )
    made: ProbeDataset = SOURCES[source](spec)
    return made
