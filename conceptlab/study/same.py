"""What the results of a run folder are of, so that those of something else do not replace them.

A folder holds results of one data set, a name in it those of one network, and a layer those of one
way to store its activations. Settings of an analysis may change: its step is made again.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from conceptlab.errors import InputError
from conceptlab.keys import canonical
from conceptlab.study.record import Names

if TYPE_CHECKING:
    from conceptlab.data.base import ProbeDataset
    from conceptlab.models.probed import ProbedModel
    from conceptlab.study.settings import ModelSettings

Holds = dict[str, dict[str, Any]]
TITLE = "title"  # for people
ANSWERS = "answers to fixed pictures"
ROUNDING = 1e-4  # of the largest answer
NAMED = ", or give the network another name (--name, or name in [[models]])"


class OtherError(InputError):
    """A run folder holds results of another data set, network or layer."""


def holds_data(data: "ProbeDataset", label_size: int | None = None) -> Holds:
    """What all results of a folder are of.

    Args:
        data: the data set.
        label_size: side of the label maps, 0 for half the input; None where none are used.
    """
    prints = data.fingerprints()
    own: dict[str, Any] = {TITLE: data.spec, "images": prints.pictures, "labels": prints.labels}
    if label_size is not None:
        own["label size"] = label_size
    return {"data": own}


def holds_model(model: "ProbedModel", settings: "ModelSettings") -> Holds:
    """What all results of a name are of.

    Args:
        model: the network.
        settings: what it was loaded by.
    """
    title = " with ".join(filter(None, (model.spec, settings.weights)))
    own = {TITLE: title, "fingerprint": model.fingerprint, ANSWERS: model.answers(),
           "preprocessing": canonical(model.preprocessing.spec())}  # fmt: skip
    return {"model": own}


def holds_layer(dtype: str) -> Holds:
    """What all results of a layer are of."""
    return {"layer": {TITLE: f"activations in {dtype}", "dtype": dtype}}


def require_same(
    path: Path, record: Mapping[str, Any], names: Names, holds: Mapping[str, Mapping[str, Any]]
) -> None:
    """Raise if a step of a run folder is of something else than one that is to be made.

    Args:
        path: of the run folder.
        record: of a step in it.
        names: of the step that is to be made.
        holds: what that is of: 'data', 'model' and 'layer', those that it knows.

    Raises:
        OtherError: with what differs.
    """
    model, layer, _ = names
    concerns = {"data": True, "model": record["model"] == model}
    concerns["layer"] = concerns["model"] and record["layer"] == layer
    for what, have in record["holds"].items():
        want = holds.get(what, {})
        # answers follow from all else, so they are named only where nothing else differs
        shared = sorted(have.keys() & want.keys() - {TITLE}, key=lambda k: (k == ANSWERS, k))
        fields = [k for k in shared if not _alike(k, have[k], want[k])]
        if fields and concerns[what]:
            whose = {"data": "", "model": f"{model}: ", "layer": f"{model} {layer}: "}[what]
            more = "" if what == "data" else NAMED
            raise OtherError(
                f"the run folder {path} holds results of {whose}{_said(have, fields[0])}, and this "
                f"is {_said(want, fields[0])}; choose another folder with --out{more}"
            )


def _alike(field: str, have: Any, want: Any) -> bool:
    """Whether two values are the same; what networks answer, within rounding."""
    if field != ANSWERS or have is None or want is None or len(have) != len(want):
        return bool(have == want)
    scale = max(map(abs, (*have, *want)), default=0.0)
    return bool(np.allclose(have, want, rtol=0, atol=ROUNDING * scale, equal_nan=True))


def _said(side: Mapping[str, Any], field: str) -> str:
    """A title, and a value that differs, of hashes the beginning."""
    value = str(side[field])
    if field == ANSWERS:
        value = ", ".join(f"{number:.4g}" for number in side[field][:3]) + ", ..."
    return f"{side[TITLE]} ({field} {value[:8] if len(value) == 64 else value})"
