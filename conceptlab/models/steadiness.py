"""Whether a network gives a picture the same values in every pass and in every batch: measured."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from torch import nn

from conceptlab.errors import ActivationError
from conceptlab.models.identity import fixed_inputs, run_sketches
from conceptlab.numerics.sketch import FIXED, Sketch

if TYPE_CHECKING:
    from conceptlab.models.probed import ProbedModel

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
