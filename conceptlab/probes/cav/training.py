"""Training of concept activation vectors: samples of a layer, classifiers, held-out accuracy."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import bdtrc
from tqdm.auto import tqdm

from conceptlab.errors import InputError
from conceptlab.given import require_fields
from conceptlab.numerics.classifiers import (
    fit_by_moments,
    fit_in_features,
    fit_in_samples,
    require_classifier,
    spreads,
)
from conceptlab.numerics.parallel import ordered_map
from conceptlab.probes.cav.bundle import Bundle
from conceptlab.probes.cav.sets import Ints, Plan, Roles

if TYPE_CHECKING:
    from conceptlab.activations.store import Activations

Floats = NDArray[np.float64]
FORMS = ("pooled", "positions", "flattened")
FOLDS = 5
CHANCE = 0.05  # level of the test of accuracy against one half
BLOCK = 64  # images read at once
SMALLEST = 1e-3  # penalty: lengths are off by up to 3e-7 / penalty, as weights are in float32
FINE = 1e-2  # penalties below it
FEATURES = 4096  # turned to double precision at once
HEAVY = 4  # times the outputs themselves: what moments of images may take of memory
SLOW = 2.0  # seconds after which a bar is worth showing


class Samples(Protocol):
    """A layer's outputs for many images, by row."""

    @property
    def units(self) -> int:
        """K."""
        ...

    def pooled(self, rows: Ints) -> NDArray[np.float32]:
        """(n, K) spatial means."""
        ...

    def maps(self, rows: Ints) -> NDArray[Any]:
        """(n, K, H, W)."""
        ...


class CachedSamples:
    """Samples out of the cache.

    Args:
        activations: the layer's.
    """

    def __init__(self, activations: "Activations") -> None:
        self._activations = activations
        self.units = activations.shape[1]

    def pooled(self, rows: Ints) -> NDArray[np.float32]:
        """(n, K) spatial means."""
        return self._activations.read_pooled(rows)

    def maps(self, rows: Ints) -> NDArray[Any]:
        """(n, K, H, W), read image by image so that mapped pages do not pile up."""
        return np.concatenate([self._activations.read(int(r), int(r) + 1) for r in rows])


@dataclass(frozen=True)
class Settings:
    """How CAVs are trained; see `conceptlab.CavProbe`."""

    classifier: str
    form: str
    penalty: float
    progress: bool = False

    def __post_init__(self) -> None:
        """Check them."""
        require_fields(self)
        require_classifier(self.classifier)
        if self.form not in FORMS:
            raise InputError(f"form is one of {', '.join(FORMS)}; got {self.form!r}")
        if self.penalty < SMALLEST:
            raise InputError(
                f"penalty is at least {SMALLEST:g}, or rounding decides; got {self.penalty}"
            )

    @property
    def fine(self) -> bool:
        """Whether the penalty is so small that products need double precision beside it."""
        return self.penalty < FINE


@dataclass(frozen=True)
class Trained:
    """The directions of some pairs of sets, and what is known of the concepts among them.

    Args:
        bundle: (P) directions at unit length.
        bias: (P,) on raw activations, for directions at unit length.
        accuracy: (C,) balanced, on held-out images.
        chance: (C,) whether it is no better than guessing (one-sided binomial test, 5 %).
        stability: (C,) mean cosine of the directions of re-drawn images of the concept.
    """

    bundle: Bundle
    bias: Floats
    accuracy: Floats
    chance: NDArray[np.bool_]
    stability: Floats


def train(samples: Samples, plans: Sequence[Plan], settings: Settings) -> list[Trained]:
    """Train all pairs of some plans over the same samples.

    Args:
        samples: where the rows of the plans are found.
        plans: each with sets of one size.
        settings: of the classifiers.

    Returns:
        One for each plan; their bundles share their samples.
    """
    if settings.form == "positions":
        return [_by_position(samples, plan, settings) for plan in plans]
    used = np.unique(np.concatenate([np.r_[p.positive.ravel(), p.negative.ravel()] for p in plans]))
    x = _features(samples, used, settings.form)
    mean = x.mean(axis=0, dtype=np.float64).astype(np.float32)
    x -= mean
    scale = float(np.einsum("sd,sd->s", x, x).mean()) or 1.0
    x /= np.float32(np.sqrt(scale))
    gram = _gram(x, settings.fine)
    found = []
    for plan in plans:
        sides = [np.searchsorted(used, side) for side in (plan.positive, plan.negative)]
        found.append(_in_samples(x, gram, (sides[0], sides[1]), plan.roles, settings))
    return [_raw(one, mean, float(np.sqrt(scale))) for one in found]


def _gram(x: NDArray[np.float32], fine: bool) -> NDArray[Any]:
    """(S, S) inner products, in double precision on demand, some features at a time."""
    if not fine:
        plain: NDArray[Any] = x @ x.T
        return plain
    gram = np.zeros((len(x), len(x)))
    for start in range(0, x.shape[1], FEATURES):
        part = x[:, start : start + FEATURES].astype(np.float64)
        gram += part @ part.T
    return gram


def _raw(one: Trained, mean: NDArray[np.float32], scale: float) -> Trained:
    """Biases for raw activations: f = w.(x - mean) / scale + b, divided so that w has length 1."""
    shift = one.bundle.along(mean[None])[:, 0].astype(np.float64)
    return Trained(one.bundle, one.bias * scale - shift, one.accuracy, one.chance, one.stability)


def _features(samples: Samples, rows: Ints, form: str) -> NDArray[np.float32]:
    """(S, D) float32, read in blocks."""
    if form == "pooled":
        return np.array(samples.pooled(rows), dtype=np.float32)
    first = samples.maps(rows[:1])
    x = np.empty((len(rows), first[0].size), dtype=np.float32)
    for start in range(0, len(rows), BLOCK):
        part = samples.maps(rows[start : start + BLOCK])
        x[start : start + len(part)] = part.reshape(len(part), -1)
    return x


def _penalty(spread: Any, settings: Settings) -> Any:
    """The penalty in units of each problem's own spread, so that no other problem moves it.

    Where other samples spread so much more that it falls below what rounding bears, it is that.
    """
    return np.maximum(settings.penalty * spread, SMALLEST)


def _in_samples(
    x: NDArray[np.float32],
    gram: NDArray[Any],
    sides: tuple[Ints, Ints],
    roles: Roles,
    settings: Settings,
) -> Trained:
    """All pairs over one Gram matrix."""
    size = sides[0].shape[1]
    index = np.hstack(sides)
    labels = np.repeat([1.0, -1.0], size)
    coefficients, bias, length = fit_in_samples(
        gram, index, labels, settings.classifier, _penalty(spreads(gram, index), settings)
    )
    safe = np.where(length > 0, length, 1.0)
    bundle = Bundle.combining(x, index, coefficients / safe[:, None])

    def judged(pairs: Ints, learn: Ints, held: Ints) -> Floats:
        """(P, 2h) decisions on held-out places of both sides, learned on the others."""
        own = np.hstack([sides[0][pairs][:, learn], sides[1][pairs][:, learn]])
        rest = np.hstack([sides[0][pairs][:, held], sides[1][pairs][:, held]])
        labels = np.repeat([1.0, -1.0], len(learn))
        penalty = _penalty(spreads(gram, own), settings)
        a, b, _ = fit_in_samples(gram, own, labels, settings.classifier, penalty)
        between = gram[own[:, :, None], rest[:, None, :]].astype(np.float64)
        decisions: Floats = np.einsum("pn,pnh->ph", a, between) + b[:, None]
        return decisions

    accuracy, chance = _held_out(roles.judged, size, judged)
    return Trained(bundle, bias / safe, accuracy, chance, _stability(bundle, gram, roles.redraws))


def _held_out(
    pairs: Ints, size: int, judged: Callable[[Ints, Ints, Ints], Floats]
) -> tuple[Floats, NDArray[np.bool_]]:
    """Balanced accuracy of each concept by cross-validation over runs of its images, and a test.

    Images of a concept and its counterpart's are split alike into runs of neighbours (frames of a
    film are near copies). The test takes the accuracy for a share of 2k images, as of one pair.
    """
    places = np.arange(size)
    right = np.zeros((*pairs.shape, 2, size))
    for held in np.array_split(places, min(FOLDS, size)):
        learn = np.setdiff1d(places, held)
        decide = judged(pairs.ravel(), learn, held).reshape(*pairs.shape, 2, len(held))
        sign = np.array([1.0, -1.0])[:, None]
        right[..., held] = 0.5 * (1.0 + np.sign(decide * sign))
    accuracy: Floats = right.mean(axis=(1, 2, 3))
    hits = np.floor(accuracy * 2 * size + 1e-9)
    return accuracy, bdtrc(hits - 1, 2 * size, 0.5) > CHANCE


def _stability(bundle: Bundle, gram: NDArray[Any], redraws: Ints) -> Floats:
    """(C,) mean cosine between the directions of re-drawn sets, each a mean over counterparts."""
    concepts, count, width = redraws.shape
    picked = (
        np.ones(redraws.size, np.float32),
        (np.arange(redraws.size) // width, redraws.ravel()),
    )
    mixed = sparse.csr_array(picked, shape=(concepts * count, len(bundle))) @ bundle.combination
    found = np.empty(concepts)
    for c in range(concepts):
        own = mixed[c * count : (c + 1) * count].toarray()
        found[c] = _mean_cosine(((own @ gram) @ own.T).astype(np.float64))
    return found


def _mean_cosine(products: Floats) -> float:
    """Mean of the cosines between unequal ones, from inner products (Q, Q); NaN for one."""
    count = len(products)
    length = np.sqrt(np.maximum(np.diagonal(products), 1e-300))
    cosine = products / np.outer(length, length)
    if count < 2:
        return float("nan")
    return float((cosine.sum() - np.trace(cosine)) / (count * (count - 1)))


def _moments(x: NDArray[np.float32], settings: Settings) -> NDArray[Any] | None:
    """(S, K + 1, K + 1) each image's sum over positions of z z^T, z being x with a 1 at its end.

    They are all that 'ridge' asks of an image, whatever sets it is in. None for other classifiers,
    and where maps are so small that samples themselves are less.

    Args:
        x: (S, positions, K).
        settings: of the classifiers.
    """
    if settings.classifier != "ridge" or x.shape[2] >= HEAVY * x.shape[1]:
        return None
    kind = np.float64 if settings.fine else np.float32
    found = np.empty((len(x), x.shape[2] + 1, x.shape[2] + 1), dtype=kind)
    ones = np.ones((x.shape[1], 1), dtype=kind)
    for image, own in zip(x, found, strict=True):
        wide = np.hstack([image, ones])
        np.matmul(wide.T, wide, out=own)
    return found


def _by_position(samples: Samples, plan: Plan, settings: Settings) -> Trained:
    """All pairs with every position of every image as a sample, solved for the weights."""
    sides = plan.positive, plan.negative
    used = np.unique(np.r_[sides[0].ravel(), sides[1].ravel()])
    maps = _features(samples, used, "flattened").reshape(len(used), samples.units, -1)
    x = np.ascontiguousarray(maps.transpose(0, 2, 1))  # (S, positions, K)
    mean = x.mean(axis=(0, 1), dtype=np.float64).astype(np.float32)
    x -= mean
    scale = float(np.sqrt(np.einsum("spk,spk->", x, x, dtype=np.float64) / (x.size / len(mean))))
    scale = scale or 1.0
    x /= np.float32(scale)
    yes, no = (np.searchsorted(used, side) for side in sides)

    moments = _moments(x, settings)

    def solved(first: Ints, second: Ints) -> tuple[Floats, float]:
        if moments is not None:
            up, down = (moments[side].sum(axis=0, dtype=np.float64) for side in (first, second))
            both = up + down
            average = both[-1, :-1] / both[-1, -1]
            spread = np.trace(both[:-1, :-1]) / both[-1, -1] - average @ average
            return fit_by_moments(both, up[-1] - down[-1], _penalty(spread, settings))
        own = x[np.concatenate([first, second])].reshape(-1, x.shape[2])
        own = own.astype(np.float64) if settings.fine else own
        labels = np.repeat([1.0, -1.0], [len(s) * x.shape[1] for s in (first, second)])
        spread = own.var(axis=0, dtype=np.float64).sum()
        return fit_in_features(own, labels, settings.classifier, _penalty(spread, settings))

    def judged(pairs: Ints, learn: Ints, held: Ints) -> Floats:
        found = []
        for w, b, rest in ordered_map(
            lambda p: (*solved(yes[p][learn], no[p][learn]), np.r_[yes[p][held], no[p][held]]),
            pairs,
        ):
            found.append(x[rest].mean(axis=1) @ w + b)
        return np.stack(found)

    numbers = range(len(yes))
    fitted = list(
        tqdm(
            ordered_map(lambda p: solved(yes[p], no[p]), numbers), "CAVs", len(numbers),
            delay=SLOW, disable=not settings.progress, unit="CAV",
        )
    )  # fmt: skip
    weights = np.stack([w for w, _ in fitted])
    length = np.linalg.norm(weights, axis=1)
    safe = np.where(length > 0, length, 1.0)
    weights /= safe[:, None]
    bias = np.array([b for _, b in fitted]) / safe * scale - weights @ mean
    accuracy, chance = _held_out(plan.roles.judged, yes.shape[1], judged)
    redrawn = weights[plan.roles.redraws].sum(axis=2)
    stability = np.array([_mean_cosine(own @ own.T) for own in redrawn])
    return Trained(Bundle.of(weights), bias, accuracy, chance, stability)
