"""How activation vectors speak for every class, in one pass.

Nenavath & Khatsuriya, section 3.6, after Carter et al. 2019: the attribution of the vector h at
(x, y) to class c is h . d logit_c / d h. For all c at once, that is the derivative of the scores
along the layer's output with all but this position set to zero: one pass of forward-mode
differentiation, where a gradient needs a backward pass for each class.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel

from conceptlab.errors import LayerError, ModelError, first_line
from conceptlab.models.alone import alone
from conceptlab.models.forward import forward
from conceptlab.models.grid import Form, place, to_grid
from conceptlab.models.outputs import Output, scores_of
from conceptlab.models.probed import ProbedModel
from conceptlab.passes.edit import changing
from conceptlab.passes.gradient import derivatives, differentiable

TOLERANCE = 1e-3  # of the largest derivative; float32 is far below, a missing branch far above


class Tangent:
    """Derivatives of a network's scores along vectors of one of its layers.

    Forward mode is tried on one picture, against a backward pass of a random sum of the scores.
    Where an operation has no forward rule, or the two differ (as where a branch runs without
    gradients), the derivative is taken by two backward passes: that of u . J with respect to u.

    Args:
        model: the network.
        layer: a name, as `ProbedModel.resolve` gives it.
        output: where the scores are, see `conceptlab.models.outputs.scores_of`.

    Attributes:
        classes: C, how many there are.
        forward: whether forward mode is used.
        alone: whether what follows the layer reads its grid and nothing else, so that the grid is
            enough. False where a shortcut leads around it, or a class token beside it.

    Raises:
        LayerError: no differentiable path leads from the layer to the scores, or from its class
            token alone.
        ModelError: scores that are not one number per picture and class; weights without gradients.
    """

    def __init__(self, model: ProbedModel, layer: str, output: Output = None) -> None:
        self._model, self._layer, self._output = model, model.resolve([layer])[0], output
        size = model.preprocessing.geometry.size
        shape = (1, model.preprocessing.channels, size, size)
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        self._picture = noise.to(model.device, model.dtype)
        self.forward, self.classes, self._silent = True, 0, False
        self.forward = self._forward_agrees()
        self.alone = self._is_alone()

    def of_grids(
        self, values: NDArray[np.floating], places: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Attributions of vectors, from the layer's outputs; the network before it does not run.

        Args:
            values: (n, K, H, W) outputs of the layer, where `alone`.
            places: (n, 2) row and column of each vector.

        Returns:
            (n, C).
        """
        given = torch.from_numpy(np.ascontiguousarray(values)).to(self._model.device)
        return _array(self._along(self._picture, partial(_only, places=places), given)[1])

    def of_pictures(self, batch: Tensor, places: NDArray[np.int64]) -> NDArray[np.float32]:
        """Attributions of vectors, from the pictures.

        Args:
            batch: (n, 3, S, S), preprocessed.
            places: (n, 2) row and column of each vector.

        Returns:
            (n, C).
        """
        return _array(self._along(batch.to(self._model.device), partial(_only, places=places))[1])

    def _along(
        self, batch: Tensor, towards: Callable[[Tensor], Tensor], given: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Scores (n, C), and their derivatives along a direction in the layer.

        Args:
            batch: (n, 3, S, S); of one picture where grids are given.
            towards: gives the direction for the layer's grids (n, K, H, W).
            given: (n, K, H, W) grids in the layer's stead.
        """
        kept: list[Tensor] = []

        def change(_: str, raw: Tensor, form: Form) -> Tensor:
            raw = raw.detach() if given is None else _in_place_of(raw, form, given)
            vector = torch.zeros_like(raw)
            place(vector, form, towards(to_grid(raw, form)))
            kept[:] = raw, vector
            if self.forward:
                return _dual(raw.clone(), vector)
            raw.requires_grad_()
            return raw.clone()

        with (
            differentiable(self._model),
            _plain_attention(self._model.module),
            changing(self._model, {self._layer: change}),
        ):
            if self.forward:
                with torch.no_grad(), forward_ad.dual_level():
                    found = forward_ad.unpack_dual(self._scores(batch))  # type: ignore[no-untyped-call]
                    none = torch.zeros_like(found.primal)
                    return found.primal, none if found.tangent is None else found.tangent
            scores = self._scores(batch)
            return scores.detach(), self._twice_back(scores, *kept)

    def _scores(self, batch: Tensor) -> Tensor:
        return scores_of(forward(self._model.module, batch), self._output)

    def _twice_back(self, scores: Tensor, leaf: Tensor, vector: Tensor) -> Tensor:
        """J v as the derivative of u . J v with respect to u."""
        sums = torch.zeros_like(scores, requires_grad=True)
        try:
            (back,) = torch.autograd.grad(scores, leaf, sums, create_graph=True)
            (found,) = torch.autograd.grad(back, sums, vector)
        except RuntimeError as error:
            raise ModelError(
                f"{self._model.name} has neither a forward derivative nor a second one from layer "
                f"{self._layer} on ({first_line(error)}); choose a later layer"
            ) from error
        return found

    def _forward_agrees(self) -> bool:
        """Whether forward mode gives what a backward pass does."""
        weights: list[Tensor] = []

        def summed(returned: object) -> Tensor:
            scores = scores_of(returned, self._output)
            generator = torch.Generator().manual_seed(1)
            weights[:] = [torch.randn(scores.shape[1], generator=generator).to(scores)]
            self.classes = scores.shape[1]
            return scores @ weights[0]

        asked = np.zeros((1, 1), dtype=np.int64)
        found = derivatives(self._model, self._picture, [self._layer], asked, summed)
        layer = found.layers[self._layer]
        self._silent = not layer.gradients.any()
        seeded = torch.Generator().manual_seed(2)  # along h itself, layer norm has no derivative
        way = torch.randn(layer.values.shape, generator=seeded)
        wanted = float((layer.gradients[0] * layer.values * way.numpy()).sum(dtype=np.float64))
        try:
            along = self._along(self._picture, lambda grid: grid * way.to(grid))[1][0]
        except RuntimeError:  # no forward rule
            return False
        terms = (along * weights[0]).double()
        return abs(float(terms.sum()) - wanted) <= TOLERANCE * float(
            terms.abs().sum() + abs(wanted)
        )

    def _is_alone(self) -> bool:
        """Whether the scores are the same to the bit whatever picture stands before the grids."""
        grids: list[Tensor] = []

        def keep(_: str, raw: Tensor, form: Form) -> Tensor:
            if self._silent and form.first:  # a rectified map may be silent by chance
                raise LayerError(
                    f"the scores of {self._model.name} read the class token of layer {self._layer} "
                    "and nothing of its map; choose a layer before it"
                )
            grids.append(to_grid(raw, form).expand(2, -1, -1, -1).clone())
            return raw

        model = self._model
        with differentiable(model), torch.no_grad(), changing(model, {self._layer: keep}):
            self._scores(self._picture)
        try:
            one, other = (
                self._along(picture, torch.zeros_like, grids[0])[0]
                for picture in (self._picture, torch.zeros_like(self._picture))
            )
        except (ModelError, RuntimeError):  # it holds on to the number of pictures
            return False
        return len(one) == 2 and torch.equal(one, other)


def _in_place_of(raw: Tensor, form: Form, grids: Tensor) -> Tensor:
    """Grids (n, K, H, W) in the layout of the layer's output for one picture."""
    own = to_grid(raw, form)
    if own.shape[1:] != grids.shape[1:]:
        raise LayerError(
            f"the layer gives {tuple(own.shape[1:])} for a picture, and the activations are "
            f"{tuple(grids.shape[1:])}; extract them again"
        )
    times = [1] * raw.ndim
    times[form.order[0]] = len(grids)
    fresh = raw.detach().repeat(times)
    place(fresh, form, grids.to(raw.dtype))
    return fresh


def _only(grid: Tensor, places: NDArray[np.int64]) -> Tensor:
    """A grid with every position but one of each row set to zero."""
    rows, (y, x) = torch.arange(len(grid)), torch.as_tensor(places).T
    only = torch.zeros_like(grid)
    only[rows, :, y, x] = grid[rows, :, y, x]
    return only


def _dual(values: Tensor, along: Tensor) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of what torch loads at the first call
        dual: Tensor = forward_ad.make_dual(values, along)  # type: ignore[no-untyped-call]
    return dual


@contextmanager
def _plain_attention(module: nn.Module) -> Iterator[None]:
    """Attention in operations that have a forward derivative, and a second one."""
    with alone(module, settings=True):
        before = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            with sdpa_kernel(SDPBackend.MATH):
                yield
        finally:
            torch.backends.mha.set_fastpath_enabled(before)


def _array(tensor: Tensor) -> NDArray[np.float32]:
    found: NDArray[np.float32] = tensor.detach().to("cpu", torch.float32).numpy()
    return found
