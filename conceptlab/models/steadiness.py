"""Whether a network gives a picture the same values in every pass and in every batch: measured."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import torch
from torch import nn

from conceptlab.errors import ActivationError, ModelError
from conceptlab.models.evaluation import evaluating
from conceptlab.models.forward import forward
from conceptlab.models.identity import fixed_inputs, floating_parts, run_sketches
from conceptlab.numerics.sketch import FIXED, Sketch

if TYPE_CHECKING:
    from conceptlab.models.probed import ProbedModel

REPEATED = 1e-4  # of the largest score: what passes of one batch may differ by
SCORES = ""  # in a layer's stead: what the network returns

#: What was found of a network's layers, by its fingerprint.
_FOUND: WeakKeyDictionary[nn.Module, dict[tuple[str, str], bool]] = WeakKeyDictionary()


def batch_dependent(
    model: "ProbedModel", layers: Sequence[str], known: Mapping[str, Sketch], fingerprint: str
) -> list[str]:
    """Those layers whose values for a picture depend on the others in its batch.

    So it is where batch statistics are used after training (batch normalisation that stays in
    training mode, or keeps no running ones). The fixed pictures run once more, in two batches of
    half the size; each layer is asked once in a process.

    Args:
        model: the network.
        layers: as `ProbedModel.resolve` gives them.
        known: layer to the sketch of the fixed pictures in one batch.
        fingerprint: the network's, as it is now.

    Raises:
        ActivationError: a layer that gives other values in every pass.
    """
    found = _FOUND.setdefault(model.module, {})
    new = [layer for layer in layers if (fingerprint, layer) not in found]
    if new:
        pictures = list(fixed_inputs(model).items())
        middle = len(pictures) // 2
        halves = run_sketches(model, new, [dict(pictures[:middle]), dict(pictures[middle:])])
        apart = [k for k in new if known[k].head(len(FIXED)).difference(halves[k])]
        if apart:
            _require_repeatable(model, apart, known)
        found |= {(fingerprint, layer): layer in apart for layer in new}
    return [layer for layer in layers if found[fingerprint, layer]]


def require_repeatable_scores(model: "ProbedModel") -> None:
    """Refuse a network that says something else of the same pictures in every pass.

    The fixed pictures run twice; a network is asked once in a process.

    Raises:
        ModelError: the network is random from some layer on.
    """
    found, key = _FOUND.setdefault(model.module, {}), (model.fingerprint, SCORES)
    if key in found:
        return
    pictures = model.prepare(list(fixed_inputs(model).values()))
    first, second = (_said(model, pictures) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        apart, largest = float((one - other).abs().amax()), float(one.abs().amax())
        if apart > REPEATED * largest:
            raise ModelError(
                f"{model.name} says something else of the same pictures in every pass (up to "
                f"{apart:.2g} of {largest:.2g} apart), so that nothing can be told from what it "
                "says: something random stays active in evaluation mode, such as a functional "
                "dropout; turn it off"
            )
    found[key] = False


def _said(model: "ProbedModel", pictures: torch.Tensor) -> list[torch.Tensor]:
    """The tensors in what a network returns, in float64."""
    with torch.inference_mode(), evaluating(model.module):
        returned = forward(model.module, pictures)
    return [part.double() for part in floating_parts(returned) if part.numel()]


def _require_repeatable(
    model: "ProbedModel", layers: Sequence[str], known: Mapping[str, Sketch]
) -> None:
    again = run_sketches(model, layers, [fixed_inputs(model)])
    for layer in layers:
        difference = known[layer].head(len(FIXED)).difference(again[layer])
        if difference:
            raise ActivationError(
                f"layer {layer} of {model.name} gives other values for the same pictures in every "
                f"pass ({difference}): something random stays active in evaluation mode, such as "
                "dropout; switch it off"
            )
