"""What concepts contribute to a class: interpretable basis decomposition.

Zhou, Sun, Bau & Torralba 2018, "Interpretable basis decomposition for visual explanation". The
vector w of a class at a layer is the gradient of its logit, summed over positions; where a global
average and a linear layer follow, it is the class's row of the head, as in the paper. It becomes a
sum of concept vectors and a residual, and with it the logit becomes a sum of contributions:

    g_p = c_p w + (what is at right angles to w),  c_p = g_p . w / ||w||^2
    logit = sum_i sum_p c_p s_i q_i . a_p + sum_p c_p r . a_p + baseline + remainder

with a_p the layer's output at position p and g_p the gradient there. The baseline is the logit
where the layer's output is zero; the remainder is what no linear reading of the network explains,
nothing but rounding where what follows the layer is linear and treats all positions alike. Else the
remainder says how much the other numbers are worth.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from conceptlab.activations.pictures import batches
from conceptlab.analysis.effects.basis import Basis, Candidates, candidates
from conceptlab.analysis.effects.contributions import (
    EQUAL,
    ClassFound,
    Passes,
    Question,
    along,
    completed,
    of_class,
    summed,
)
from conceptlab.errors import InputError
from conceptlab.given import checked
from conceptlab.models.outputs import Output, class_columns, class_name
from conceptlab.models.probed import ProbedModel
from conceptlab.numerics.intervals import mean_bounds
from conceptlab.numerics.serial import effective_rows
from conceptlab.passes.gradient import scores
from conceptlab.probes.cav.result import Cavs
from conceptlab.vectors import ConceptVectors

Floats = NDArray[np.float64]
RESTS = ("residual", "baseline", "remainder")  # rows of a table after the concepts
UNREAD = "all derivatives are 0: the class reads this layer nowhere"


@dataclass(frozen=True)
class ImageDecomposition:
    """What concepts contribute to a class of one picture.

    Args:
        table: columns class, concept, category, layer, coefficient (s_i; of the residual its
            length), contribution (they add up to the logit), share (of logit - baseline; NaN where
            that is 0, and of the baseline), note (of the concept vectors, where they have one). A
            row per concept, most first, then 'residual', 'baseline', 'remainder' without category.
        heatmaps: (F, H, W) what each position adds to the contribution of each concept.
        logit: of the class.
        explained: 1 - ||r||^2 / ||w||^2, the share of w that concepts make up.
        picture: (S, S, 3) uint8 as the network saw it.
    """

    table: pd.DataFrame
    heatmaps: Floats
    logit: float
    explained: float
    picture: NDArray[np.uint8]

    @property
    def completeness_error(self) -> float:
        """What the contributions and the baseline lack of the logit, in its units."""
        return abs(float(self.table["contribution"].iloc[-1]))

    def _repr_html_(self) -> str:
        return str(self.table.to_html(index=False, escape=True))


@dataclass(frozen=True)
class Decomposition:
    """What concepts contribute to classes, on average over pictures of each.

    Args:
        table: as that of `ImageDecomposition`, with the mean contribution, its 95 %
            interval over the pictures in columns low, high, and their number n.
        classes: columns class, n, logit (mean), explained (share of w that concepts make up),
            completeness_error (mean of the remainder's size), accuracy (share of the pictures that
            the network puts into the class).
        vectors: w of each class, of kind 'class', with the mean baseline as bias: comparable to
            concept vectors of the same layer.
    """

    table: pd.DataFrame
    classes: pd.DataFrame
    vectors: ConceptVectors

    def _repr_html_(self) -> str:
        return str(self.table.to_html(index=False, escape=True, max_rows=40))


@checked
def decompose_image(  # noqa: PLR0913 (as `decompose`)
    model: ProbedModel,
    image: Any,
    vectors: Cavs | ConceptVectors,
    target: str | int | None = None,
    *,
    layer: str | None = None,
    method: str = "greedy",
    components: int = 7,
    centred: bool = False,
    output: Output = None,
) -> ImageDecomposition:
    """What concepts contribute to a class of one picture, and where.

    Args:
        model: the network that the vectors were learned on.
        image: a picture, its file, or a tensor (1, 3, S, S) already preprocessed.
        vectors: over the layer's outputs; concepts without a vector are left out. Of CAVs each
            concept's mean direction is taken; vectors that were learned on thresholded activations
            count as directions among the outputs.
        target: a class's name or column; the one with the highest score if not given.
        layer: that of the vectors; to be sure of it.
        method: 'greedy' or 'nnls', see `conceptlab.analysis.effects.basis.nonnegative_basis`.
        components: concepts at most, of 'greedy'.
        centred: take from each concept vector its mean over the units beforehand, see
            `conceptlab.analysis.effects.basis.basis_rows`.
        output: where the scores are in what the network returns, see
            `conceptlab.models.outputs.scores_of`.

    Raises:
        InputError: no usable vector, vectors of another network or layer (`SpaceError`), a class
            that does not exist, an unknown method.
        LayerError: no differentiable path leads from the layer to the scores.
    """
    concepts = candidates(model, vectors, layer, method, components, centred)
    batch = _one(model, image)
    said = scores(model, batch, output)
    which = int(said[0].argmax()) if target is None else target
    column = int(class_columns(model, [which], said.shape[1])[0])
    question = Question(model, concepts.layer, column, output)
    found, values, gradients = question.read(batch)
    weights = summed(gradients)
    basis = concepts.basis(weights)
    weighted = along(values[0], gradients[0], weights)
    maps = np.tensordot(concepts.parts(basis), weighted, axes=1)
    logits = found[:, column]
    whole = completed(maps.sum(axis=(1, 2))[None], question.baselines(batch), logits)[0]
    order = _order(whole)
    return ImageDecomposition(
        _table(class_name(model, which), concepts, basis, whole).iloc[order].reset_index(drop=True),
        maps[order[: len(basis.places)]], float(logits[0]), basis.explained, _seen(model, batch),
    )  # fmt: skip


@checked
def decompose(  # noqa: PLR0913 (settings of the basis, of the network and of the passes)
    model: ProbedModel,
    images: Mapping[Any, Any],
    vectors: Cavs | ConceptVectors,
    layer: str | None = None,
    *,
    method: str = "greedy",
    components: int = 7,
    centred: bool = False,
    output: Output = None,
    batch_size: int = 32,
    progress: bool = False,
) -> Decomposition:
    """What concepts contribute to classes, on average over pictures of each.

    A class's w is the mean over its pictures, and one basis serves them all; each picture has its
    own c_p, of its gradient on that w. The pictures pass in batches: twice, or once where the
    gradient is the same for all pictures and positions. A class's answer does not depend on the
    other classes; it does on all concepts that the vectors hold, since the basis is made of them.

    Args:
        model: the network that the vectors were learned on.
        images: class, by name or column, to its pictures, see
            `conceptlab.activations.pictures.Pictures`, or to a tensor (n, 3, S, S) already
            preprocessed.
        vectors: as in `decompose_image`, and so are layer, method, components, centred, output.
        layer: see there.
        method: see there.
        components: see there.
        centred: see there.
        output: see there.
        batch_size: pictures that pass together.
        progress: show a bar.

    Raises:
        InputError: a class that stands twice or has no pictures; else as `decompose_image`.
        LayerError: no differentiable path leads from the layer to the scores.
    """
    concepts = candidates(model, vectors, layer, method, components, centred)
    columns = _columns(model, images, output)
    names = [class_name(model, which) for which in images]
    tables, rows, weights, bias = [], [], [], []
    for name, pictures, column in zip(names, images.values(), columns, strict=True):
        question = Question(model, concepts.layer, int(column), output)
        passes = Passes(model, pictures, batch_size, name if progress else None)
        found = of_class(question, passes, concepts)
        tables.append(_class_table(name, concepts, found))
        rows.append(_class_row(name, found))
        weights.append(found.weights)
        bias.append(found.contributions[:, -2].mean())
    of_classes = ConceptVectors(
        np.stack(weights), np.array(bias), pd.DataFrame({"name": names, "category": "class"}),
        "class", model.space(concepts.layer, len(weights[0])),
    )  # fmt: skip
    return Decomposition(pd.concat(tables, ignore_index=True), pd.DataFrame(rows), of_classes)


def _columns(model: ProbedModel, images: Mapping[Any, Any], output: Output) -> NDArray[np.int64]:
    """The column of each class, where all of them have pictures."""
    if not isinstance(images, Mapping) or not images:
        raise InputError("images is a mapping of classes to pictures, with at least one class")
    for which, pictures in images.items():
        if isinstance(pictures, str | Path | Image.Image):
            raise InputError(f"class {which} takes a list of pictures; got one {pictures!r}")
        if not len(pictures):
            raise InputError(f"there are no pictures of class {which}")
    blank = model.prepare([Image.new("RGB", (8, 8))])
    columns = class_columns(model, list(images), scores(model, blank, output).shape[1])
    for place, column in enumerate(columns):
        if column in columns[:place]:
            raise InputError(f"class {class_name(model, int(column))} stands twice in images")
    return columns


def _one(model: ProbedModel, image: Any) -> Any:
    """(1, 3, S, S) a picture as the network's input."""
    several = image if hasattr(image, "ndim") else [image]
    batch = next(batches(model, several, 2), ())
    if len(batch) != 1:
        raise InputError(f"one picture is decomposed at a time; got {len(several)}")
    return batch


def _seen(model: ProbedModel, batch: Any) -> NDArray[np.uint8]:
    """(S, S, 3) the picture that became a network's input (1, C, S, S), without transparency."""
    preprocessing = model.preprocessing
    values = np.moveaxis(np.asarray(batch[0].cpu(), dtype=np.float64), 0, -1)
    pixels = values * np.array(preprocessing.std) + np.array(preprocessing.mean)
    shown = np.asarray(np.clip(np.rint(255 * pixels), 0, 255), dtype=np.uint8)
    return np.repeat(shown, 3, axis=2) if preprocessing.channels == 1 else shown[..., :3]


def _order(contributions: Floats) -> NDArray[np.int64]:
    """Rows of (F + 3,) contributions: concepts with the most first, then what is no concept."""
    concepts = len(contributions) - len(RESTS)
    order = np.argsort(-contributions[:concepts], kind="stable")
    return np.append(order, np.arange(concepts, len(contributions)))


def _table(name: str, concepts: Candidates, basis: Basis, contributions: Floats) -> pd.DataFrame:
    """A row per concept of a basis, in its order, then the rests; contributions (F + 3,)."""
    chosen, none = concepts.table.iloc[basis.places], [""] * len(RESTS)
    baseline = contributions[-2]
    whole = contributions.sum() - baseline
    there = abs(whole) > EQUAL * np.abs(contributions).max()  # else it is rounding
    shares = contributions / whole if there else np.full(len(contributions), np.nan)
    shares[-2] = np.nan
    length = float(np.linalg.norm(basis.residual))
    unread = "" if length or len(basis.places) else UNREAD
    return pd.DataFrame(
        {
            "class": name,
            "concept": [*chosen["concept"], *RESTS],
            "category": [*chosen["category"], *none],
            "layer": concepts.layer,
            "coefficient": [*basis.coefficients, length, np.nan, np.nan],
            "contribution": contributions,
            "share": shares,
            "note": [*chosen["note"], unread, "", ""],
        }
    )


def _class_table(name: str, concepts: Candidates, found: ClassFound) -> pd.DataFrame:
    """The rows of a class, with intervals of the means over its pictures."""
    n, mean = len(found.contributions), found.contributions.mean(axis=0)
    each = np.ascontiguousarray(found.contributions.T)
    low, high = mean_bounds(each, effective_rows(each))
    table = _table(name, concepts, found.basis, mean)
    return table.assign(low=low, high=high, n=n).iloc[_order(mean)]


def _class_row(name: str, found: ClassFound) -> dict[str, Any]:
    """The row of a class among the classes."""
    return {
        "class": name,
        "n": len(found.contributions),
        "logit": float(found.contributions.sum(axis=1).mean()),
        "explained": found.basis.explained,
        "completeness_error": float(np.abs(found.contributions[:, -1]).mean()),
        "accuracy": float(found.right.mean()),
    }
