"""Where the cells of a layer lie in the picture, found without the package's own measurement.

Which place a cell stands for is a matter of a network's code, not of its weights. It is therefore
judged in a network of the same code whose weights make places legible (`made_legible`): the middle
of each kernel outweighs its rim and tokens attend to tokens like themselves, so that what a cell
answers to lies near its place however deep the layer is. In random weights it is lost: 32
convolutions of 9 x 9 let each cell answer to the whole picture.

The picture is then changed by faint noise n, by n * sqrt(y) and by n * sqrt(x), y and x from 0 to 1
over the picture. Summed over noises, a cell's squared answers are in the ratio of sum(J^2 y) to
sum(J^2), J the derivative of the cell by the pixels: the centre of what it answers to, for every
cell at once. Two pictures with noises of their own tell how far centres can be relied upon.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

NOISES = 2  # of each picture, enough for most networks
UNITS = 48  # of a layer are looked at, evenly spaced, where it has more
FAINT = 1e-4  # deviation of the noise; the pictures' is 1
NEARLY_DEAD = 0.1  # of the mean answer: units below it count less
RIM = 0.02  # of a kernel's weights but the middle one
ALIKE = 4.0  # times queries and keys
SURE = 0.8  # correlation of two pictures' centres from which on these can be relied upon
LEAST = 0.8  # of centres and places, along rows and columns, where a grid is right
CROSS = 0.5  # of the centres' rows with the places' columns, at most

Centres = NDArray[np.float64]

RIGHT, WRONG, UNJUDGED = "right", "wrong", "not judged"


class Verdict(NamedTuple):
    """What is known of a grid's places.

    Args:
        says: RIGHT, WRONG or UNJUDGED.
        agreement: least correlation of rows and columns with where their cells answer.
        sure: correlation of two pictures' centres, along rows or columns, whichever is more.
        why: of what is not right.
    """

    says: str
    agreement: float
    sure: float
    why: str = ""


def made_legible(module: nn.Module) -> nn.Module:
    """The network itself, with weights of the same code by which places can be read."""
    generator = torch.Generator().manual_seed(1)
    for name, own in module.named_parameters():
        if name.rpartition(".")[2] == "bias":
            own.data.zero_()  # it may drown the picture, block after block
        elif not own.any():  # blocks that begin as the identity answer to nothing
            own.data = 0.1 * torch.randn(own.shape, generator=generator)
    for part in module.modules():
        if isinstance(part, nn.Conv2d) and part.weight.shape[2:].numel() > 1:
            _gather(part)
        if isinstance(part, nn.BatchNorm2d) and part.affine:
            part.weight.data.fill_(1.0)
        _attend_to_alike(part)
    return module.double().eval()


def _gather(conv: nn.Conv2d) -> None:
    """A kernel whose middle has its energy; patches side by side reach no further as they are."""
    if all(kernel <= stride for kernel, stride in zip(conv.kernel_size, conv.stride, strict=True)):
        return
    weight = conv.weight.data
    middle = (slice(None), slice(None), *((size - 1) // 2 for size in conv.kernel_size))
    energy = weight.square().sum(dim=(2, 3)).sqrt() * torch.sign(weight[middle])
    weight *= RIM
    weight[middle] = energy


def _attend_to_alike(attention: nn.Module) -> None:
    """Keys that are the queries, of a scale by which the likest tokens are told apart."""
    weights = dict(attention.named_parameters())
    size = getattr(attention, "key_dim", None)  # given where each head has its own three by itself
    for name in ("qkv.weight", "to_qkv.weight", "in_proj_weight"):
        if name in weights and weights[name].ndim == 2:
            heads = attention.num_heads if size else 1
            rows = weights[name].data.unflatten(0, (heads, -1))
            keys = size or rows.shape[1] // 3
            rows[:, keys : 2 * keys] = rows[:, :keys].mul_(ALIKE)
    for name, parts in (("k.weight", 1), ("kv.weight", 2)):
        if name in weights and "q.weight" in weights:
            query, key = weights["q.weight"].data, weights[name].data.chunk(parts)[0]
            if query.shape == key.shape:
                key.copy_(query.mul_(ALIKE))


def pictures(size: int, channels: int = 3, noises: int = NOISES) -> Tensor:
    """(2 * (1 + 3 * noises), C, S, S) two pictures, each with its changes after it."""
    generator = torch.Generator().manual_seed(7)
    ramp = (torch.arange(size, dtype=torch.float64) + 0.5) / size
    every = torch.ones(size, size, dtype=torch.float64)
    shades = torch.stack([every, ramp.sqrt()[:, None] * every, ramp.sqrt()[None] * every])
    shape = (2, 1 + noises, channels, size, size)
    base, noise = torch.randn(shape, generator=generator, dtype=torch.float64).split([1, noises], 1)
    changes = FAINT * noise[:, :, None] * shades[:, None]
    return torch.cat([base, base + changes.flatten(1, 2)], dim=1).flatten(0, 1)


def centres(grid: Tensor) -> Centres:
    """(2, 2, H, W) by each picture, in rows and in columns, where each cell answers; NaN: nowhere.

    Args:
        grid: (pictures, K, H, W) outputs for `pictures`.
    """
    step = -(-grid.shape[1] // UNITS)
    halves = grid[:, ::step].detach().double().unflatten(0, (2, -1))
    change = (halves[:, 1:] - halves[:, :1]).unflatten(1, (-1, 3)).square().sum(dim=1)
    floor = (1e-13 * halves.square().mean().sqrt()) ** 2
    units = change[:, :1].mean(dim=(3, 4), keepdim=True)  # each counts as much as another
    units = units.clamp_min(NEARLY_DEAD * units.mean(dim=2, keepdim=True))
    own = torch.where(units > floor, change / units, 0.0).mean(dim=2)
    own = own.where(own[:, :1] > 1e-9, torch.nan)
    return (own[:, 1:] / own[:, :1]).numpy()


def judged(grid: Tensor) -> Verdict:
    """Whether the cells of a grid answer to the places that they stand for.

    Wrong is what answers surely along one axis at least, and not where its cells lie along both:
    turned, mirrored, moved on by a cell, units for places, windows in another order. What answers
    nowhere in particular is not judged.

    Args:
        grid: (pictures, K, H, W) outputs for `pictures`, with more than one row and column.
    """
    found = centres(grid)
    alive = np.isfinite(found).all(axis=(0, 1))
    if alive.mean() < 0.5 or not np.isfinite(grid.detach().numpy()).all():
        return Verdict(UNJUDGED, np.nan, np.nan, "silent")
    sure = max(_correlation(*found[:, way][:, alive]) for way in range(2))
    mean = found.mean(axis=0)
    places = np.stack(np.indices(mean.shape[1:]))
    agreement = _agreement(mean, places, alive)
    cross = max(abs(_correlation(mean[way][alive], places[1 - way][alive])) for way in range(2))
    better = [k for k, other in _moved(places) if _agreement(mean, other, alive) > agreement]
    if agreement >= LEAST and cross <= CROSS and not better:
        return Verdict(RIGHT, agreement, sure)
    if sure < SURE:
        return Verdict(UNJUDGED, agreement, sure, "answers to no place in particular")
    return Verdict(WRONG, agreement, sure, ", ".join(better) or "answers elsewhere")


def _agreement(found: Centres, places: NDArray[np.int64], alive: NDArray[np.bool_]) -> float:
    return min(_correlation(found[way][alive], places[way][alive]) for way in range(2))


def _correlation(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])


def _moved(places: NDArray[np.int64]) -> list[tuple[str, NDArray[np.int64]]]:
    """Places of grids that are read wrongly."""
    found = [("upside down", places * [[[-1]], [[1]]]), ("mirrored", places * [[[1]], [[-1]]])]
    if places.shape[1] == places.shape[2]:
        found.append(("turned", places[::-1]))
    for step in (-1, 1):
        found += [
            (f"rows moved by {step}", np.roll(places, step, axis=1)),
            (f"columns moved by {step}", np.roll(places, step, axis=2)),
            (
                f"cells moved by {step}",
                np.roll(places.reshape(2, -1), step, 1).reshape(places.shape),
            ),
        ]
    return found
