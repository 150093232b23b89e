"""The derivative of a network's scores with respect to a layer's output.

One forward pass, and one backward pass that ends at the layer: nothing before it is differentiated,
and neither are the weights.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from conceptlab.errors import LayerError, ModelError
from conceptlab.models.forward import forward
from conceptlab.models.grid import Form, to_grid
from conceptlab.models.outputs import Output, scores_of
from conceptlab.models.probed import ProbedModel
from conceptlab.passes.edit import Change, changing

Columns = NDArray[np.int64] | Callable[[int], NDArray[np.int64]]


@dataclass(frozen=True)
class LayerGradient:
    """A layer's outputs for n pictures, and how their scores depend on them.

    Args:
        values: (n, K, H, W) outputs.
        gradients: (T, n, K, H, W) derivative of each picture's own T scores.
    """

    values: NDArray[np.floating]
    gradients: NDArray[np.floating]


@dataclass(frozen=True)
class Derivatives:
    """What one pass over a batch gives.

    Args:
        scores: (n, classes) everything that the network says.
        layers: name to the layer's outputs and gradients.
    """

    scores: NDArray[np.floating]
    layers: dict[str, LayerGradient]


@contextmanager
def differentiable(model: ProbedModel) -> Iterator[None]:
    """Within it gradients are taken, also within the caller's `inference_mode` or `no_grad`.

    Raises:
        ModelError: weights that can have none.
    """
    if any(parameter.is_inference() for parameter in model.module.parameters()):
        raise ModelError(
            f"{model.name} was made inside torch.inference_mode(), and nothing can be "
            "differentiated through its weights; make it outside"
        )
    with torch.inference_mode(False), torch.enable_grad():
        yield


def scores(model: ProbedModel, batch: Tensor, output: Output = None) -> NDArray[np.floating]:
    """(n, classes) scores of a batch, without gradients.

    Args:
        model: the network.
        batch: (n, 3, S, S), preprocessed.
        output: see `conceptlab.models.outputs.scores_of`.
    """
    with torch.inference_mode(), changing(model, {}):
        return _array(scores_of(forward(model.module, batch.to(model.device)), output))


def derivatives(
    model: ProbedModel,
    batch: Tensor,
    layers: Sequence[str],
    columns: Columns,
    output: Output = None,
) -> Derivatives:
    """Scores of a batch, and the gradient of some of them at some layers.

    The sign is that of the score itself (of the logit, not of a loss): a positive derivative along
    a direction means that more of it raises the class.

    Args:
        model: the network.
        batch: (n, 3, S, S), preprocessed.
        layers: names, as `ProbedModel.resolve` gives them.
        columns: (n, T) the classes that are asked of each picture; one backward pass for each of T.
            Or a function that gives them for the number of classes.
        output: see `conceptlab.models.outputs.scores_of`.

    Raises:
        LayerError: no differentiable path leads from a layer to the scores.
        ModelError: scores that are not one number per picture and class; see `differentiable`.
    """
    kept: dict[str, tuple[Tensor, Form]] = {}

    def keep(layer: str, raw: Tensor, form: Form) -> Tensor:
        leaf = raw if raw.requires_grad else raw.detach().requires_grad_()
        kept[layer] = leaf, form
        return leaf.clone(memory_format=torch.preserve_format)  # in-place layers may follow

    change: Change = keep
    with differentiable(model), changing(model, dict.fromkeys(layers, change)):
        batch = batch.to(model.device)
        if batch.is_inference():  # made within the caller's `inference_mode`
            batch = batch.clone()
        found = scores_of(forward(model.module, batch), output)
        missing = [layer for layer in layers if layer not in kept]
        if missing:
            raise LayerError(f"layer {missing[0]} is not reached by a forward pass")
        wanted = columns(found.shape[1]) if callable(columns) else columns
        asked = found.gather(1, torch.as_tensor(wanted, device=found.device))
        leaves = [kept[layer][0] for layer in layers]
        grads = [
            _backward(model, asked[:, t].sum(), leaves, layers, retain=t + 1 < asked.shape[1])
            for t in range(asked.shape[1])
        ]
    return Derivatives(
        _array(found),
        {
            layer: LayerGradient(
                _array(to_grid(kept[layer][0], kept[layer][1])),
                _stacked([_array(to_grid(g[place], kept[layer][1])) for g in grads]),
            )
            for place, layer in enumerate(layers)
        },
    )


def _backward(
    model: ProbedModel, total: Tensor, leaves: list[Tensor], layers: Sequence[str], retain: bool
) -> Sequence[Tensor]:
    """Gradients of a sum at the leaves, or a sentence about the layer that it does not reach."""
    if not total.requires_grad:
        raise LayerError(_no_path(model, layers[-1]))
    found = torch.autograd.grad(total, leaves, retain_graph=retain, allow_unused=True)
    for layer, gradient in zip(layers, found, strict=True):
        if gradient is None:
            raise LayerError(_no_path(model, layer))
    return found


def _no_path(model: ProbedModel, layer: str) -> str:
    return (
        f"the scores of {model.name} do not depend on layer {layer} in a way that can be "
        "differentiated: nothing leads from it to the output, or what does is detached, rounded or "
        "an index; choose another layer"
    )


def _array(tensor: Tensor) -> NDArray[np.floating]:
    """A tensor as an array of float32, or of float64 where it holds that, in its own layout."""
    kind = torch.float64 if tensor.dtype == torch.float64 else torch.float32
    found: NDArray[np.floating] = tensor.detach().to("cpu", kind).numpy()
    return found


def _stacked(arrays: list[NDArray[np.floating]]) -> NDArray[np.floating]:
    """Arrays along a new first axis; a single one is not copied."""
    return arrays[0][None] if len(arrays) == 1 else np.stack(arrays)
