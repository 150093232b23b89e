"""CAVs learned from a labelled data set, or from sets of pictures."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conceptlab.activations.labels import LabelStore, label_store
from conceptlab.activations.pictures import layer_outputs
from conceptlab.errors import InputError
from conceptlab.given import checked
from conceptlab.probes.base import PROBES, TOO_FEW, BaseProbe
from conceptlab.probes.cav.result import CHANCE_NOTE, COMPLEMENT, RANDOM, Cavs, Drawing, collect
from conceptlab.probes.cav.sets import FEWEST, Ints, Side
from conceptlab.probes.cav.training import CachedSamples, Settings
from conceptlab.probes.classification import accuracies
from conceptlab.space import Space
from conceptlab.vectors import index_of, qualified_names

if TYPE_CHECKING:
    from conceptlab.activations.pictures import Pictures
    from conceptlab.activations.store import Activations
    from conceptlab.data.base import ProbeDataset
    from conceptlab.models.probed import ProbedModel

log = logging.getLogger(__name__)


@PROBES.register("cav")
class CavProbe(BaseProbe):
    """Concept activation vectors: the normal of a linear classifier between two sets of images.

    Kim et al. 2018 (TCAV), section 3.2, with relative CAVs (3.6). Each concept's set of images is
    told from many counterparts; random sets are also told from one another, as the null that
    `conceptlab.tcav` tests against. All classifiers over a layer share one Gram matrix.

    Args:
        against: 'random' images of the data set; 'complement', the images that do not show the
            concept; or the name of another concept, for relative CAVs (images that show both are
            left out).
        classifier: 'ridge', 'logistic', 'svm' (squared hinge) or 'difference' (of means); see
            `conceptlab.numerics.classifiers`.
        form: of the activations: 'pooled' (spatial means, K features), 'positions' (every position
            is a sample of K features) or 'flattened' (K H W features).
        random: R, random sets: counterparts and null.
        examples: k, images of a set at most, and at most half of the training images; a concept
            with fewer has sets of about as many as it has.
        redraws: times that a concept's images are drawn anew (bootstrap), for stability and
            intervals.
        penalty: of the squared weights, where the samples that are told apart have a mean squared
            distance of 1 from their mean. A small one follows single images: vectors are less
            stable, and images of a concept that vary more than random ones then pass for an effect
            more often than tests say.
        min_examples: concepts that fewer training images show (or, where a counterpart is theirs,
            do not show) get no vector, and say so.
        label_size: side of the label maps, which decides no score here but which store is read.
        seed: of all draws.

    Attributes:
        cavs: the fitted `conceptlab.Cavs`, for `conceptlab.tcav`.
        vectors: their mean directions, one for each concept of the data set.
    """

    cavs_: Cavs

    @checked
    def __init__(  # noqa: PLR0913 (an estimator's settings)
        self,
        *,
        against: str = RANDOM,
        classifier: str = "ridge",
        form: str = "pooled",
        random: int = 50,
        examples: int = 50,
        redraws: int = 10,
        penalty: float = 10.0,
        min_examples: int = 10,
        label_size: int | None = None,
        seed: int = 0,
    ) -> None:
        self.against = against
        self.classifier = classifier
        self.form = form
        self.random = random
        self.examples = examples
        self.redraws = redraws
        self.penalty = penalty
        self.min_examples = min_examples
        self.label_size = label_size
        self.seed = seed

    @property
    def cavs(self) -> Cavs:
        """Every single CAV, for `conceptlab.tcav`.

        Raises:
            InputError: before `fit`.
        """
        self.vectors  # noqa: B018 (raises before fit)
        return self.cavs_

    def fit(self, activations: "Activations", data: "ProbeDataset") -> Self:
        """Learn the vectors of all concepts from the training images.

        Args:
            activations: a layer's cached outputs.
            data: the probe data set that they were made from.

        Raises:
            InputError: settings that make no sense, or an unknown concept to set against.
        """
        settings = Settings(self.classifier, self.form, self.penalty, data.progress)
        pool = activations.rows("train")
        examples = self.examples
        if self.against != COMPLEMENT:  # two random sets may do without a shared image
            examples = min(examples, max(len(pool) // 2, FEWEST))
        drawing = Drawing(self.against, self.random, examples, self.redraws, self.seed)
        store = label_store(activations, data, self.label_size)
        sides, shown = self._sides(store, pool)
        table = store.concepts[["name", "category"]].assign(
            n_train=shown, note=[TOO_FEW if side is None else "" for side in sides]
        )
        space = space_of(activations.space("raw"), activations.shape, self.form)
        samples = CachedSamples(activations)
        self.cavs_ = collect(samples, sides, pool, table, space, drawing, settings, False)
        self.vectors_ = self.cavs_.vectors
        if self.form != "flattened":
            train = accuracies(self.vectors_, activations, data, "train", self.label_size)
            score = train["accuracy"].to_numpy()
        else:
            score = np.full(len(table), np.nan)
        self._finish(score)
        return self

    @checked
    def score(
        self, activations: "Activations", data: "ProbeDataset", split: str = "val"
    ) -> pd.DataFrame:
        """Balanced accuracy of the mean vectors, each concept against all other images.

        Args:
            activations: of the layer.
            data: the probe data set.
            split: 'train', 'val' or 'test'.

        Returns:
            Columns concept, category, n (images that show it), accuracy.

        Raises:
            InputError: vectors over flattened maps, whose held-out accuracy is in their table.
        """
        if self.form == "flattened":
            raise InputError(
                "CAVs over flattened maps are not scored on pooled activations; their accuracy on "
                "held-out images is in vectors.concepts"
            )
        return accuracies(self.vectors, activations, data, split, self.label_size)

    def _finish(self, train_score: NDArray[np.float64]) -> None:
        """Put the training score and the settings into the vectors, and warn of chance."""
        from dataclasses import replace

        concepts = self.vectors_.concepts.assign(train_score=train_score)
        self.vectors_ = replace(self.vectors_, concepts=concepts, provenance=self.described())
        self.cavs_ = replace(self.cavs_, vectors=self.vectors_)
        warn_of_chance(self.vectors_.concepts, self.vectors_.names)

    def _sides(self, store: LabelStore, pool: Ints) -> tuple[list[Side | None], Ints]:
        """The images of each concept and of what it is told from; how many show it."""
        present, known = store.shown_native[pool], store.image_label_known()[pool]
        names = qualified_names(store.concepts)
        other = -1
        if self.against not in (RANDOM, COMPLEMENT):
            other = index_of(store.concepts, self.against)
        sides: list[Side | None] = []
        for c, name in enumerate(names):
            shows = present[:, c] & known[:, c]
            hidden: NDArray[np.bool_] | None = None
            if self.against == COMPLEMENT:
                hidden = known[:, c] & ~shows
            elif other >= 0:
                both = shows & present[:, other]
                hidden, shows = present[:, other] & ~both, shows & ~both
            few = min(shows.sum(), len(pool) if hidden is None else hidden.sum())
            rows = None if hidden is None else pool[hidden]
            enough = few >= max(self.min_examples, FEWEST) and c != other
            sides.append(Side(name, pool[shows], rows) if enough else None)
        return sides, (present & known).sum(axis=0).astype(np.int64)


def warn_of_chance(concepts: pd.DataFrame, names: list[str]) -> None:
    """Say in the log which vectors mean nothing."""
    weak = [
        f"{name} ({accuracy:.2f})"
        for name, accuracy, note in zip(names, concepts["accuracy"], concepts["note"], strict=True)
        if note == CHANCE_NOTE
    ]
    if weak:
        shown = ", ".join(weak[:8]) + (", ..." if len(weak) > 8 else "")
        log.warning(
            "%d CAVs tell held-out images no better than chance, and their scores say nothing of "
            "the concept: %s", len(weak), shown,
        )  # fmt: skip


def space_of(space: Space, shape: tuple[int, ...], form: str) -> Space:
    """The space of CAVs over a layer: its units, or all values of its maps."""
    if form != "flattened":
        return space
    return replace(space, units=int(np.prod(shape[1:])), inputs="flattened")


class _ArraySamples:
    """Samples that are in memory, (S, K, H, W)."""

    @checked
    def __init__(self, values: NDArray[np.float32]) -> None:
        self._values = values
        self.units = values.shape[1]

    def pooled(self, rows: Ints) -> NDArray[np.float32]:
        pooled: NDArray[np.float32] = self._values[rows].mean(axis=(2, 3))
        return pooled

    def maps(self, rows: Ints) -> NDArray[Any]:
        return self._values[rows]


@checked
def picture_cavs(  # noqa: PLR0913 (as the estimator's settings)
    model: "ProbedModel",
    concepts: "Mapping[str, Pictures]",
    random: "Pictures",
    *,
    layer: str,
    against: str = RANDOM,
    classifier: str = "ridge",
    form: str = "pooled",
    counterparts: int = 50,
    examples: int = 50,
    redraws: int = 10,
    penalty: float = 10.0,
    batch_size: int = 32,
    seed: int = 0,
    progress: bool = False,
) -> Cavs:
    """CAVs from sets of pictures, as TCAV takes them: a set for each concept, and random ones.

    The activations of all pictures are held in memory. See `conceptlab.CavProbe` for what the
    settings mean.

    Args:
        model: the network.
        concepts: name to pictures (PIL images, paths) or a preprocessed tensor (n, 3, S, S).
        random: pictures of anything, none of them among the concepts'; sets of `examples` are drawn
            from them, so at least twice as many, and better many times.
        layer: name in `named_modules()`.
        against: 'random', or the name of one of the concepts, for relative CAVs.
        classifier: see `conceptlab.CavProbe`; so are form, examples, redraws, penalty and seed.
        form: see there.
        counterparts: R, random sets.
        examples: see there.
        redraws: see there.
        penalty: see there.
        batch_size: pictures a pass.
        seed: see there.
        progress: show a bar where it takes long.

    Raises:
        InputError: no concept, one of fewer than two pictures, or too few random ones.
        LayerError: an unknown layer, or one that gives no grid of units.
    """
    drawing = Drawing(against, counterparts, examples, redraws, seed)
    settings = Settings(classifier, form, penalty, progress)
    if not concepts:
        raise InputError("picture_cavs needs pictures of at least one concept: {name: pictures}")
    for name, pictures in concepts.items():
        if len(pictures) < FEWEST:
            raise InputError(
                f"concept {name!r} has {len(pictures)} pictures: a CAV needs at least {FEWEST}"
            )
    if len(random) < FEWEST:
        raise InputError(
            f"random has {len(random)} pictures: random sets are drawn from hundreds of them"
        )
    if against == COMPLEMENT or (against != RANDOM and against not in concepts):
        raise InputError(
            f"against is {RANDOM!r} or one of the concepts ({', '.join(concepts)}); got {against!r}"
        )
    (layer,) = model.resolve([layer])
    parts = [
        np.concatenate(list(layer_outputs(model, pictures, layer, batch_size)))
        for pictures in (*concepts.values(), random)
    ]
    values = np.concatenate(parts)
    bounds = np.cumsum([0, *map(len, parts)])
    rows = dict(
        zip(concepts, (np.arange(a, b) for a, b in pairwise(bounds)), strict=False)
    )  # the last are the random ones
    pool = np.arange(bounds[-2], bounds[-1])
    sides: list[Side | None] = [
        None if name == against else Side(name, own, rows.get(against))
        for name, own in rows.items()
    ]
    table = pd.DataFrame({"name": list(rows), "category": "concept"}).assign(
        n_train=[len(own) for own in rows.values()], note=""
    )
    bare = model.space(layer, values.shape[1])
    space = space_of(bare, values.shape, form)
    found = collect(_ArraySamples(values), sides, pool, table, space, drawing, settings, True)
    warn_of_chance(found.vectors.concepts, found.vectors.names)
    return found
