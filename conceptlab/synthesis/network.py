"""One pass of a batch: every layer that is asked for, the scores, and the way back to the input."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial

import torch
from torch import Tensor

from conceptlab.errors import LayerError, ModelError
from conceptlab.models.forward import PassFailed, forward
from conceptlab.models.outputs import Output, scores_of
from conceptlab.models.probed import ProbedModel
from conceptlab.models.watch import watch
from conceptlab.passes.edit import changing
from conceptlab.synthesis.objective import SCORES
from conceptlab.synthesis.redirect import redirecting

#: From float32 inputs (n, 3, S, S) to outputs (n, K, H, W) by layer, and scores (n, classes) under
#: SCORES, in float32 too.
Pass = Callable[[Tensor], dict[str, Tensor]]


@contextmanager
def passes(
    model: ProbedModel, layers: Sequence[str], scores: bool, output: Output
) -> Iterator[Pass]:
    """Within it, the network runs with frozen weights, and stops after the deepest layer.

    Args:
        model: given back as it was, also after an exception.
        layers: names.
        scores: whether those are wanted too; then the whole network runs.
        output: see `conceptlab.models.outputs.scores_of`.

    Yields:
        The pass.
    """
    found: dict[str, Tensor] = {}

    def keep(layer: str, grid: Tensor) -> None:
        found[layer] = grid.to(torch.float32, copy=True)

    def returned(_: object, __: object, result: object) -> None:
        found[SCORES] = scores_of(result, output).to(torch.float32)

    with changing(model, {}):
        hook = model.module.register_forward_hook(returned) if scores else None
        watching = watch(model.module, layers, keep, stop=not scores) if layers else None
        try:
            with watching or nullcontext(partial(forward, model.module)) as run:

                def outputs(inputs: Tensor) -> dict[str, Tensor]:
                    found.clear()
                    with _sized(model, inputs):
                        run(inputs.to(model.dtype))
                    return dict(found)

                yield outputs
        finally:
            if hook is not None:
                hook.remove()


@contextmanager
def _sized(model: ProbedModel, inputs: Tensor) -> Iterator[None]:
    """Says of which size a network could not run."""
    try:
        yield
    except PassFailed as error:
        side, own = inputs.shape[-1], model.preprocessing.geometry.size
        such = "" if side == own else f", such as its own, {own}, with octaves=1"
        raise ModelError(
            f"{model.spec} cannot run on a picture of {side} x {side} pixels ({error}); choose a "
            f"size that it takes{such}"
        ) from error


def gradient_of(
    run: Pass,
    model: ProbedModel,
    inputs: Tensor,
    score: Callable[[dict[str, Tensor]], tuple[Tensor, Tensor]],
    redirected: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """What a batch is worth, and the gradient of it at the network's input.

    Args:
        run: the pass.
        model: whose.
        inputs: (n, 3, S, S).
        score: from outputs to (n,) values and the total that is to be raised.
        redirected: (n,) pictures for which rectifiers redirect the gradient; None if no picture.

    Returns:
        (n,) values, and (n, 3, S, S).

    Raises:
        LayerError: no gradient leads from an output to the input.
    """
    leaf = inputs.detach().requires_grad_()
    with redirecting(redirected) if redirected is not None else nullcontext():
        outputs = run(leaf)
    for layer, values in outputs.items():
        if not values.requires_grad:
            raise LayerError(_no_path(model, layer))
    values, total = score(outputs)
    (gradient,) = torch.autograd.grad(total, leaf)
    return values.detach(), gradient


def require_path(run: Pass, model: ProbedModel, inputs: Tensor) -> None:
    """Refuse outputs from which no gradient arrives, whatever is asked of them.

    Args:
        run: the pass.
        model: whose.
        inputs: (n, 3, S, S).

    Raises:
        LayerError: what leads to a layer is rounded, say.
    """
    leaf = inputs.detach().requires_grad_()
    with redirecting(torch.ones(len(inputs), dtype=torch.bool, device=inputs.device)):
        outputs = run(leaf)
    for layer, values in outputs.items():
        (gradient,) = torch.autograd.grad(values.sum(), leaf, retain_graph=True)
        if not gradient.any():
            raise LayerError(_no_path(model, layer))


def _no_path(model: ProbedModel, layer: str) -> str:
    what = f"layer {layer} of {model.name} does" if layer else f"the scores of {model.name} do"
    return (
        f"{what} not depend on the picture in a way that can be differentiated: what leads there "
        "is detached, rounded or an index; choose a layer before that"
    )
