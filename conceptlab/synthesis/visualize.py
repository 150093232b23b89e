"""Images made by optimisation, many objectives in one pass of the network."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from conceptlab.errors import InputError, LayerError
from conceptlab.given import checked
from conceptlab.models.outputs import Output
from conceptlab.models.picture import network_view
from conceptlab.models.probed import ProbedModel
from conceptlab.numerics.geometry import Geometry
from conceptlab.passes.gradient import differentiable
from conceptlab.synthesis.ascent import Ascent, Made, Seeded
from conceptlab.synthesis.network import passes
from conceptlab.synthesis.objective import SCORES, Objective
from conceptlab.synthesis.objectives import Caricature, Inversion, whole
from conceptlab.synthesis.settings import Synthesis

Picture = Image.Image | NDArray[np.uint8]
Pictures = Picture | Sequence[Picture]
SILENT = "no gradient reaches the picture: what is asked for stays silent"

#: Where the picture has to stay in place: nothing moves, and neighbours hold one another.
STILL = Synthesis(jitter=0.0, scale=0.0, rotate=0.0)


@dataclass(frozen=True)
class Visualizations:
    """Images made for objectives.

    Args:
        images: (n, S, S, 3) uint8.
        table: n rows with columns objective, layer, start (value of what it began with), value (of
            the image as it is here, in 8 bits and not moved), note.
        history: (octaves * steps, n) the value at each step, of the image as it was moved then.
        objectives: (n,) what they were made for.
    """

    images: NDArray[np.uint8]
    table: pd.DataFrame
    history: NDArray[np.float32]
    objectives: tuple[Objective, ...]

    def __len__(self) -> int:
        """n, the number of images."""
        return len(self.images)

    def __repr__(self) -> str:
        return f"<Visualizations: {len(self)} images of {self.images.shape[1]} pixels a side>"

    def _repr_html_(self) -> str:
        return str(self.table.to_html(max_rows=30, escape=True))


@checked
def visualize(
    model: ProbedModel,
    objectives: Objective | Sequence[Objective],
    settings: Synthesis | None = None,
    *,
    start: Pictures | None = None,
    output: Output = None,
    batch_size: int = 16,
    seed: int = 0,
    progress: bool = False,
) -> Visualizations:
    """Optimise an image for each objective (002, eq. 2.9 to 2.12).

    A step is one forward and one backward pass for a whole batch; the pass ends after the deepest
    layer that is read. An image has its own start, motions and step sizes (Adam), all drawn from
    the seed, its objective and how many equal ones come before it, so it does not depend on what
    else is in the batch beyond the rounding of float32. On a CPU the same call gives the same bits;
    on a GPU, some of PyTorch's backward passes add in any order.

    Where no gradient at all arrives at an image, rectifiers let through what would raise their
    negative inputs, in the next step (see `conceptlab.synthesis.redirect`).

    Args:
        model: the network.
        objectives: one or several; equal ones give different images.
        settings: how; the defaults suit units and classes of networks for natural images.
        start: a picture to start from, for all, or one for each; noise if not given.
        output: where the scores of classes are, see `conceptlab.models.outputs.scores_of`.
        batch_size: images a pass. With `settings.diversity`, equal objectives share one whatever
            their number.
        seed: of the starts and motions.
        progress: show steps done and the time left.

    Raises:
        InputError: objectives that do not fit the network, or numbers that make no sense.
        SpaceError: a direction of another length, layer or network.
        LayerError: a layer that the gradient does not reach.
        ModelError: a size that the network does not take, values that are not finite; see
            `conceptlab.passes.gradient.differentiable`.
    """
    settings = settings or Synthesis()
    wanted = [objectives] if isinstance(objectives, Objective) else _listed(objectives or ())
    _check(model, wanted, settings, batch_size, seed)
    begin = None if start is None else _start(model, start, len(wanted), settings)
    places = list(_chunks(wanted, settings, batch_size))
    seeded = _seeded(wanted, seed)
    made: dict[int, tuple[Made, int]] = {}
    total = len(places) * settings.octaves * settings.steps
    with differentiable(model), tqdm(total=total, unit="step", disable=not progress) as bar:
        for rows in places:
            batch = [seeded[row] for row in rows]
            layers = tuple(dict.fromkeys(n for own in batch for n in own.objective.layers))
            scores = any(t.layer == SCORES for own in batch for _, t in own.objective.terms)
            with passes(model, layers, scores, output) as run:
                ascent = Ascent(model, run, batch, settings, bar.update)
                found = ascent.make(None if begin is None else begin[rows])
            made.update({row: (found, place) for place, row in enumerate(rows)})
    return _gathered([made[row] for row in range(len(wanted))], wanted)


@checked
def invert(
    model: ProbedModel,
    images: Pictures,
    layer: str,
    settings: Synthesis | None = None,
    **more: Any,
) -> Visualizations:
    """Images that a layer takes for given ones (002, eq. 2.11).

    Args:
        model: the network.
        images: one or several.
        layer: name in `named_modules()`.
        settings: `INVERSION` if not given; whatever they are, nothing moves.
        **more: as `visualize` takes it.
    """
    settings = replace(settings or INVERSION, jitter=0.0, scale=0.0, rotate=0.0)
    targets = _outputs(model, _inputs(model, images, settings), layer)
    return visualize(model, [Inversion(layer, target) for target in targets], settings, **more)


@checked
def caricature(
    model: ProbedModel,
    images: Pictures,
    layer: str,
    settings: Synthesis | None = None,
    **more: Any,
) -> Visualizations:
    """Images in which a layer's response to given ones is exaggerated (002, eq. 2.12).

    Args:
        model: the network.
        images: one or several, which the optimisation also starts from.
        layer: name in `named_modules()`.
        settings: `CARICATURE` if not given.
        **more: as `visualize` takes it.
    """
    settings = settings or CARICATURE
    targets = _outputs(model, _inputs(model, images, settings), layer)
    wanted = [Caricature(layer, target) for target in targets]
    return visualize(model, wanted, settings, start=images, **more)


#: Settings of `invert` and `caricature`.
INVERSION = replace(STILL, parameters="pixels", tv=2e-5)
CARICATURE = replace(STILL, steps=64, jitter=0.035)


def _check(
    model: ProbedModel, wanted: Sequence[Objective], settings: Synthesis, batch_size: int, seed: int
) -> None:
    """Refuse what is no objective, and layers that cannot be read."""
    channels = model.preprocessing.channels
    if channels != 3:
        raise InputError(
            f"images are optimised for networks of RGB pictures; {model.name} has {channels} "
            "channels"
        )
    if not wanted or not all(isinstance(one, Objective) for one in wanted):
        raise InputError("give at least one objective, such as Unit(layer, 5) or Logit(name)")
    whole(batch_size, "batch_size", 1)
    whole(seed, "seed", 0)
    for layer in dict.fromkeys(name for one in wanted for name in one.layers):
        if model.resolve([layer]) != [layer]:
            raise LayerError(f"an objective reads one layer; {layer!r} is a pattern for several")
    terms = [term for one in wanted for _, term in one.terms]
    for home, layer in {(id(t.home), t.layer): (t.home, t.layer) for t in terms}.values():
        if home is not None:
            home.require_model(model, layer)
    if settings.diversity and not all(one.layers for one in wanted):
        raise InputError("diversity compares images at a layer; a class alone names none")


def _seeded(wanted: Sequence[Objective], seed: int) -> list[Seeded]:
    """Each objective with its own random numbers."""
    seen: Counter[bytes] = Counter()
    groups: dict[bytes, int] = {}
    found = []
    for one in wanted:
        full = one.digest()
        own = int.from_bytes(one.digest(targets=False)[:8], "big")
        generator = np.random.default_rng([seed, own, seen[full]])
        found.append(Seeded(one, generator, groups.setdefault(full, len(groups))))
        seen[full] += 1
    return found


def _chunks(
    wanted: Sequence[Objective], settings: Synthesis, batch_size: int
) -> Iterator[list[int]]:
    """Places of objectives that share a batch."""
    if not settings.diversity:
        rows = list(range(len(wanted)))
        yield from (rows[at : at + batch_size] for at in range(0, len(rows), batch_size))
        return
    groups: dict[bytes, list[int]] = {}
    for row, one in enumerate(wanted):
        groups.setdefault(one.digest(), []).append(row)
    batch: list[int] = []
    for rows in groups.values():
        if batch and len(batch) + len(rows) > batch_size:
            yield batch
            batch = []
        batch = batch + rows
    yield batch


def _inputs(model: ProbedModel, pictures: Pictures, settings: Synthesis) -> Tensor:
    """Pictures as the network gets them at the size of the settings: (n, 3, S, S)."""
    one = isinstance(pictures, Image.Image) or (
        isinstance(pictures, np.ndarray) and pictures.ndim == 3
    )
    several = [pictures] if one else _listed(pictures)
    if not several:
        raise InputError("give at least one picture")
    seen = model.preprocessing
    own = seen.geometry
    size = settings.size or own.size
    resize = None if own.resize is None else max(round(own.resize * size / own.size), size)
    geometry = Geometry(size, own.fit, resize)
    levels = torch.from_numpy(np.stack([network_view(_picture(p), geometry) for p in several]))
    values = levels.to(model.device).permute(0, 3, 1, 2).to(torch.float32) / 255
    mean = torch.tensor(seen.mean, device=model.device)[:, None, None]
    std = torch.tensor(seen.std, device=model.device)[:, None, None]
    return (values - mean) / std


def _listed(several: Any) -> list[Any]:
    """What was given in a list; what is none, alone in one, so that its type can be told."""
    alone = not isinstance(several, Collection) or isinstance(several, str | bytes)
    return [several] if alone or getattr(several, "ndim", None) == 0 else list(several)


def _picture(picture: Any) -> Image.Image:
    if isinstance(picture, Image.Image):
        return picture
    array = np.asarray(picture)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        raise InputError(
            f"a picture is a PIL image or an array (height, width, 3) of uint8; got "
            f"{array.shape} of {array.dtype}"
        )
    return Image.fromarray(array)


def _start(model: ProbedModel, start: Pictures, count: int, settings: Synthesis) -> Tensor:
    inputs = _inputs(model, start, settings)
    if len(inputs) not in (1, count):
        raise InputError(f"give one picture to start from, or {count}; got {len(inputs)}")
    return inputs.expand(count, -1, -1, -1)


def _outputs(model: ProbedModel, inputs: Tensor, layer: str) -> NDArray[np.float32]:
    """(n, K, H, W) a layer's outputs."""
    if model.resolve([layer]) != [layer]:
        raise LayerError(f"an objective reads one layer; {layer!r} is a pattern for several")
    with torch.no_grad(), passes(model, [layer], False, None) as run:
        kept = [run(one[None])[layer].cpu() for one in inputs]
    found: NDArray[np.float32] = torch.cat(kept).contiguous().numpy()
    return found


def _gathered(parts: Sequence[tuple[Made, int]], wanted: Sequence[Objective]) -> Visualizations:
    table = pd.DataFrame(
        {
            "objective": [one.text for one in wanted],
            "layer": [", ".join(one.layers) for one in wanted],
            "start": [made.start[place] for made, place in parts],
            "value": [made.value[place] for made, place in parts],
            "note": [SILENT if made.silent[place] else "" for made, place in parts],
        }
    )
    return Visualizations(
        np.stack([made.pictures[place] for made, place in parts]),
        table,
        np.stack([made.history[:, place] for made, place in parts], axis=1),
        tuple(wanted),
    )
