"""Take a direction or some units out of a layer's output, as edits of its grid."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from conceptlab.models.outputs import Output, scores_of
from conceptlab.models.probed import ProbedModel
from conceptlab.numerics.rounding import PLACES
from conceptlab.passes.rest import Edit, Rest

Floats = NDArray[np.floating]
Numbers = NDArray[np.float64]


def project_out(read: Floats, write: Floats, mean: Floats) -> Edit:
    """Outputs h as h - ((h - mean).read) write, at every position.

    With `write` = `read`, of unit length, the direction is projected out around the mean. With
    another `write` of unit length the output moves as far, at every position, and elsewhere.

    Args:
        read: (K,) the direction that says how far.
        write: (K,) the direction along which.
        mean: (K,) where nothing moves.
    """
    still = float(np.dot(mean, read))

    def edit(grid: Tensor) -> Tensor:
        along, out = _like(read, grid), _like(write, grid)
        amount = (along @ grid.flatten(2) - still).reshape(len(grid), *grid.shape[2:])
        return torch.addcmul(grid, amount[:, None], out[:, None, None], value=-1.0)

    return edit


def set_to_mean(units: NDArray[np.int64], mean: Floats) -> Edit:
    """Some units at their mean, everywhere.

    Args:
        units: (m,) which.
        mean: (K,) of all.
    """

    def edit(grid: Tensor) -> Tensor:
        changed, places = grid.clone(), torch.as_tensor(units, device=grid.device)
        changed[:, places] = _like(mean, grid)[places][:, None, None]
        return changed

    return edit


def exactness(model: ProbedModel) -> float:
    """The share of an image's largest score that its scores are exact to, by the network's type."""
    kinds = [p.dtype for p in model.module.parameters() if p.is_floating_point()]
    return PLACES * float(torch.finfo(kinds[0] if kinds else torch.float32).eps)


def scores_intact(rest: Rest, batch: Tensor, output: Output = None) -> Numbers:
    """(n, classes) scores of a batch (n, 3, S, S), nothing changed; the rest keeps the batch."""
    return _numbers(scores_of(rest.intact(batch), output))


def scores_changed(rest: Rest, edit: Edit, output: Output = None) -> Numbers:
    """(n, classes) scores of the batch that the rest keeps, with the layer's output changed."""
    return _numbers(scores_of(rest.changed(edit), output))


def pooled(rest: Rest) -> Numbers:
    """(n, K) spatial means of the layer's output for the last batch, intact."""
    means: Numbers = _numbers(rest.grid.flatten(2)).mean(axis=2)
    return means


def squared_distance(rest: Rest, mean: Floats) -> Numbers:
    """(n,) mean over positions of the squared distance from the mean, for the last batch."""
    return _mean_square(rest.grid - _like(mean, rest.grid)[:, None, None])


def squared_displacement(rest: Rest, edit: Edit) -> Numbers:
    """(n,) mean over positions of the squared displacement by an edit, for the last batch."""
    return _mean_square(edit(rest.grid) - rest.grid)


def _mean_square(grid: Tensor) -> Numbers:
    means: Numbers = _numbers(grid.square().sum(dim=1).flatten(1)).mean(axis=1)
    return means


def _numbers(values: Tensor) -> Numbers:
    found: Numbers = values.detach().cpu().double().numpy()
    return found


def _like(values: Floats, grid: Tensor) -> Tensor:
    return torch.as_tensor(np.asarray(values), dtype=grid.dtype, device=grid.device)
