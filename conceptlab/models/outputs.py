"""What a network returns, as one number per class: the scalar that a question is about."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from conceptlab.errors import InputError, ModelError
from conceptlab.models.probed import ProbedModel
from conceptlab.registry import near_matches

#: Which part of what a network returns holds the scores: nothing for a tensor, a key of a
#: dictionary, a place in a tuple, or a function of what is returned to (n, classes) or (n,).
Output = str | int | Callable[[Any], Tensor] | None
HOW = (
    "say which scalar is meant: output=KEY, output=PLACE (--output on the command line), or "
    "output=FUNCTION of what it returns"
)


def scores_of(returned: Any, output: Output) -> Tensor:
    """(n, classes) scores out of what a network returned for n pictures.

    Args:
        returned: by the network.
        output: where they are in it.

    Raises:
        ModelError: a tuple or dictionary without `output`, a key or place that is not there, or a
            tensor that is not one number per picture and class.
    """
    found = output(returned) if callable(output) else _part(returned, output)
    if not isinstance(found, Tensor):
        raise ModelError(f"the network returns {_described(found)}, and no tensor; {HOW}")
    scores = found[:, None] if found.ndim == 1 else found
    if scores.ndim != 2 or not torch.is_floating_point(scores):
        raise ModelError(
            f"the network returns a tensor of shape {tuple(found.shape)} and type {found.dtype}, "
            f"and not one number per picture and class; {HOW}"
        )
    return scores


def class_columns(
    model: ProbedModel, classes: Sequence[str | int], count: int
) -> NDArray[np.int64]:
    """The column of each class in a network's scores.

    Args:
        model: whose names count.
        classes: names, or columns from 0.
        count: how many columns there are.

    Raises:
        InputError: a name or column that does not exist, or a name that stands for several.
    """
    return np.array([_column(model, which, count) for which in classes], dtype=np.int64)


def class_name(model: ProbedModel, which: str | int) -> str:
    """A class as tables write it: its name where one is known, else its column."""
    names = model.class_names or []
    if isinstance(which, str) and (which in names or not which.isdecimal()):
        return which
    column = int(which)
    if not 0 <= column < len(names):
        return str(column)
    return names[column] if names.count(names[column]) == 1 else f"{names[column]} ({column})"


def _column(model: ProbedModel, which: str | int, count: int) -> int:
    names = model.class_names or []
    if isinstance(which, str):
        hits = [i for i, name in enumerate(names) if name == which]
        if len(hits) > 1:
            raise InputError(
                f"{len(hits)} classes of {model.name} are called {which!r}; say one of the columns "
                + ", ".join(map(str, hits))
            )
        if hits:
            return hits[0]
        if not which.isdecimal():
            known = near_matches(which, names) if names else f"say a column, 0 to {count - 1}"
            raise InputError(f"{model.name} has no class {which!r}; {known}")
    if isinstance(which, bool) or not isinstance(which, str | int | np.integer):
        raise InputError(f"a class is a name or a column; got {which!r}")
    column = int(which)
    if not 0 <= column < count:
        raise InputError(f"{model.name} has no class {column}; its columns are 0 to {count - 1}")
    return column


def _part(returned: Any, output: str | int | None) -> Any:
    if output is None:
        return returned
    try:
        if isinstance(returned, torch.Tensor):  # whose parts are pictures
            raise KeyError(output)
        return returned[output]
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ModelError(
            f"the network returns {_described(returned)}, which has no {output!r}; {HOW}"
        ) from error


def _described(returned: Any) -> str:
    if isinstance(returned, Mapping):
        return f"a dictionary with {', '.join(map(repr, returned))}"
    if isinstance(returned, tuple | list):
        return f"a {type(returned).__name__} of {len(returned)}"
    return f"a {type(returned).__name__}"
