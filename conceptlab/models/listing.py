"""The table of a network's layers."""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from conceptlab.models.evaluation import evaluating
from conceptlab.models.field import FieldTracker, parameters_of
from conceptlab.models.forward import forward
from conceptlab.models.grid import CLASS, floating_tensor, part_of
from conceptlab.models.places import Layout

COLUMNS = [
    "layer", "kind", "shape", "stride", "receptive_field", "parameters", "bytes_per_image", "calls",
    "refused",
]  # fmt: skip
FLOAT16 = 2
UNKNOWN = (math.nan, math.nan)

Fields = Mapping[str, tuple[float, float]]


def fields_of(module: nn.Module, picture: Tensor) -> Fields:
    """Each layer's receptive field and stride in pixels, in order of execution.

    Args:
        module: the network.
        picture: (1, C, H, W).
    """
    tracker = FieldTracker(picture)
    fields: dict[str, tuple[float, float]] = {}

    def hook(name: str, _: nn.Module, __: Any, output: Any) -> None:
        tensor = floating_tensor(output)
        if name not in fields and tensor is not None:
            fields[name] = tracker.of(tensor)

    handles = [m.register_forward_hook(partial(hook, n)) for n, m in module.named_modules()]
    try:
        with torch.no_grad(), evaluating(module), tracker:
            forward(module, picture)
    finally:
        for handle in handles:
            handle.remove()
    return fields


def listed(module: nn.Module, found: Mapping[str, Layout], fields: Fields) -> pd.DataFrame:
    """The table of some layers; see `ProbedModel.layers`.

    Args:
        module: the network.
        found: their layouts.
        fields: as `fields_of` gives them.
    """
    named = dict(module.named_modules())
    rows = [
        _row(name, named[part_of(name)], layout, fields.get(name, UNKNOWN))
        for name, layout in found.items()
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _row(
    name: str, module: nn.Module, layout: Layout, field: tuple[float, float]
) -> dict[str, Any]:
    once = layout.calls == 1 and layout.shape is not None
    return {
        "layer": name,
        "kind": "class token" if name.endswith(CLASS) else type(module).__name__,
        "shape": layout.shape,
        "stride": field[1] if once else math.nan,
        "receptive_field": field[0] if once else math.nan,
        "parameters": parameters_of(module),
        "bytes_per_image": math.prod(layout.shape) * FLOAT16 if layout.shape else 0,
        "calls": layout.calls,
        "refused": layout.reason,
    }
