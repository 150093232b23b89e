"""The settings of a study, table by table, each checked when it is made."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conceptlab.activations.labels import LARGEST_LABELS
from conceptlab.activations.target import DTYPES
from conceptlab.analysis.atlas.layout import Layout
from conceptlab.analysis.comparison.compare import MEASURES
from conceptlab.analysis.effects.basis import METHODS
from conceptlab.analysis.units.polysemanticity import LEAST
from conceptlab.data.base import SPLITS
from conceptlab.errors import InputError
from conceptlab.given import require_fields, require_seed
from conceptlab.numerics.geometry import FITS
from conceptlab.probes.cav.result import Drawing
from conceptlab.probes.cav.training import Settings
from conceptlab.probes.segmentation.probe import INPUTS, LOSSES
from conceptlab.probes.units.dissection import ORDERS, SCOPES

SEGMENT_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 160, 192, 224)
CLASSIFY_SIZES = (1, 2, 3, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 80, 100, 128)
ICONS = ("patches", "optimised")
#: What tables and files call the segmentation probe of each kind of inputs.
SEGMENT_TASKS = {"binary": "segment", "raw": "segment-raw"}
#: What the column `score` of a task is, as the column `measure` says.
MEASURE = dict.fromkeys(("dissect", *SEGMENT_TASKS.values()), "iou_set") | {
    "classify": "balanced_accuracy"
}


@dataclass(frozen=True)
class DataSettings:
    """[data]: spec string, and the side of the label maps (0: half the input size)."""

    spec: str
    label_size: int = 0

    def __post_init__(self) -> None:
        require_fields(self)
        _at_least(0, label_size=self.label_size)
        if self.label_size > LARGEST_LABELS:
            raise InputError(f"label_size is at most {LARGEST_LABELS}; got {self.label_size}")


@dataclass(frozen=True)
class ModelSettings:
    """[[models]]: a name for people, what to load and how, and the layers to look at.

    `output` says where a network that returns a dictionary or a tuple holds its scores: a key, or a
    place from 0. Models of one `network` are training runs of it, which say how far runs differ.
    """

    spec: str
    layers: tuple[str, ...]
    name: str = ""
    network: str = ""
    weights: str = ""
    size: int = 0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    fit: str = ""
    dtype: str = "float16"
    batch_size: int = 32
    output: str = ""

    def __post_init__(self) -> None:
        require_fields(self)
        if not self.layers or not all(self.layers):
            raise InputError("layers name at least one layer, and none is empty")
        for name in ("mean", "std"):
            values = getattr(self, name)
            if len(values) not in (0, 1, 3, 4) or not all(map(math.isfinite, values)):
                raise InputError(
                    f"{name} takes three finite numbers, one for grey or four for RGBA; got "
                    f"{list(values)}"
                )
        _at_least(0, size=self.size)
        _at_least(1, batch_size=self.batch_size)
        _one_of(DTYPES, dtype=self.dtype)
        _one_of(("", *FITS), fit=self.fit)

    @property
    def title(self) -> str:
        """What the run folder calls the model: the name given, or else its source's."""
        source, _, rest = self.spec.partition(":")
        path, _, factory = rest.rpartition(":")
        own = f"{Path(path).stem}-{factory}" if source == "file" else rest.partition("@")[0]
        return self.name or own

    @property
    def scores(self) -> str | int | None:
        """Where the scores are, as `conceptlab.models.outputs.scores_of` takes it."""
        if self.output.isdecimal():
            return int(self.output)
        return self.output or None

    def loading(self) -> dict[str, Any]:
        """Keyword arguments of `load_model`."""
        chosen = {k: getattr(self, k) or None for k in ("weights", "size", "mean", "std", "fit")}
        return {k: v for k, v in chosen.items() if v is not None}


@dataclass(frozen=True)
class DissectSettings:
    """[dissect]: see `conceptlab.dissect`; permutations is the number of the chance level's."""

    tau: float = 0.005
    order: str = "threshold-first"
    align_corners: bool = False
    scope: str = "present"
    image_level: bool = False
    permutations: int = 5

    def __post_init__(self) -> None:
        require_fields(self)
        if not 0 < self.tau < 1:
            raise InputError(f"tau is a share between 0 and 1; got {self.tau}")
        _one_of(ORDERS, order=self.order)
        _one_of(SCOPES, scope=self.scope)
        _at_least(0, permutations=self.permutations)


@dataclass(frozen=True)
class SegmentSettings:
    """[segment]: see `conceptlab.SegmentationProbe`; sizes are the F of section 3.2.2.

    `inputs` lists 'binary', 'raw' or both: a probe each, the first of which is the one that other
    steps take. `plain_control` says what position and colour reach without a network.
    """

    loss: str = "bce"
    inputs: tuple[str, ...] = ("binary",)
    min_examples: int = 10
    split: str = "val"
    sizes: tuple[int, ...] = SEGMENT_SIZES
    shuffle_control: bool = True
    plain_control: bool = True

    def __post_init__(self) -> None:
        require_fields(self)
        _one_of(LOSSES, loss=self.loss)
        if not self.inputs or len(set(self.inputs)) < len(self.inputs):
            raise InputError(f"inputs lists binary, raw or both, each once; got {self.inputs}")
        for inputs in self.inputs:
            _one_of(INPUTS, inputs=inputs)
        if self.loss == "net2vec" and "raw" in self.inputs:
            raise InputError("loss 'net2vec' is the paper's, of thresholded units: no raw inputs")
        _check_probe(self)

    @property
    def task(self) -> str:
        """What tables and files call the probe that other steps take."""
        return SEGMENT_TASKS[self.inputs[0]]


@dataclass(frozen=True)
class ClassifySettings:
    """[classify]: see `conceptlab.ClassificationProbe`; sizes are the F of section 3.2.2."""

    min_examples: int = 10
    split: str = "val"
    sizes: tuple[int, ...] = CLASSIFY_SIZES
    shuffle_control: bool = True

    def __post_init__(self) -> None:
        require_fields(self)
        _check_probe(self)


@dataclass(frozen=True)
class PackSettings:
    """[pack]: see `conceptlab.pack_units`; `enabled = false` leaves it out."""

    enabled: bool = True
    least: float = 0.01

    def __post_init__(self) -> None:
        require_fields(self)
        if not 0 <= self.least < 1:
            raise InputError(f"least is a share from 0 to below 1; got {self.least}")


@dataclass(frozen=True)
class ResampleSettings:
    """[resample]: see `conceptlab.ResampledProbe`; `draws = 0` leaves it out."""

    draws: int = 0
    block: int = 5

    def __post_init__(self) -> None:
        require_fields(self)
        _at_least(0, draws=self.draws)
        _at_least(1, block=self.block)
        if self.draws == 1:
            raise InputError("draws is 0, for none, or at least 2; got 1")


@dataclass(frozen=True)
class TcavSettings:
    """[tcav]: what concepts do to classes: TCAV, basis decomposition, erasure.

    `classes` lists CLASS, CLASS=CONCEPT (pictures of the data set that show it), CLASS=FOLDER, or
    '*' for classes chosen by themselves; without any, the steps are left out. A network that lacks
    a class is asked about the others. `images` are those of a class; `erase` is how many concepts
    are taken out of each layer, those of the strongest effects. The others are settings of
    `conceptlab.CavProbe`, `conceptlab.decompose` and `conceptlab.erase`.
    """

    classes: tuple[str, ...] = ()
    images: int = 50
    against: str = "complement"
    classifier: str = "ridge"
    form: str = "pooled"
    random: int = 50
    examples: int = 50
    redraws: int = 10
    min_examples: int = 10
    method: str = "greedy"
    components: int = 7
    centred: bool = False
    units: int = 10
    erase: int = 12

    def __post_init__(self) -> None:
        require_fields(self)
        _at_least(2, images=self.images, min_examples=self.min_examples)
        _at_least(1, components=self.components, units=self.units)
        _at_least(0, erase=self.erase)
        _one_of(METHODS, method=self.method)
        Drawing(self.against, self.random, self.examples, self.redraws, 0)
        Settings(self.classifier, self.form, 1.0)


@dataclass(frozen=True)
class LookSettings:
    """[look]: what layers respond to: filters, feature maps, exemplars, images by optimisation.

    `units` of each layer are shown, those that detect a concept best, each by `count` pictures; 0
    leaves all of it out. The others are 0 unless asked for, as they take minutes on a large
    network: `fields` images of each unit shown say how far it looks (`conceptlab.empirical_field`),
    `steps` are those of each image by optimisation, and `exemplars` images of every unit say how
    many-minded it is (`conceptlab.polysemanticity`).
    """

    units: int = 6
    count: int = 6
    fields: int = 0
    steps: int = 0
    exemplars: int = 0

    def __post_init__(self) -> None:
        require_fields(self)
        _at_least(0, units=self.units, steps=self.steps, fields=self.fields)
        if 0 < self.exemplars < LEAST:
            raise InputError(f"exemplars is 0, for none, or at least {LEAST}; got {self.exemplars}")
        _at_least(0, exemplars=self.exemplars)
        _at_least(1, count=self.count)


@dataclass(frozen=True)
class AtlasSettings:
    """[atlas]: an activation atlas of every layer, and of some classes there.

    See `conceptlab.Layout` for most of it. `most` is 0 for all vectors. `icons` are 'patches' of
    the data set's pictures, or 'optimised'. Networks that lack a class are asked about the others.
    """

    enabled: bool = False
    classes: tuple[str, ...] = ()
    method: str = "umap"
    neighbours: int = 15
    grids: tuple[int, ...] = ()
    least: int = 3
    whiten: bool = False
    per_image: int = 1
    most: int = 0
    icons: str = "patches"

    def __post_init__(self) -> None:
        require_fields(self)
        _one_of(ICONS, icons=self.icons)
        _at_least(0, most=self.most)
        self.layout(0)

    def layout(self, seed: int) -> Layout:
        """The same as `conceptlab.atlas` takes it."""
        return Layout(
            method=self.method, neighbours=self.neighbours, grids=self.grids, least=self.least,
            whiten=self.whiten, per_image=self.per_image, most=self.most or None, seed=seed,
        )  # fmt: skip


@dataclass(frozen=True)
class CompareSettings:
    """[compare]: neighbours per concept, sums to look up, controls, measures, references.

    `arithmetic` lists sums such as 'grass + blue - green', `measures` those of `conceptlab.compare`
    that are taken between all embeddings, and between the layers' activations of the same images.
    `wordnet` is 'path' or 'wup', `words` a file of word vectors, to compare with as well.
    """

    neighbours: int = 5
    arithmetic: tuple[str, ...] = ()
    untrained: bool = True
    measures: tuple[str, ...] = ("rsa-spearman", "cka-debiased")
    draws: int = 200
    wordnet: str = ""
    words: str = ""

    def __post_init__(self) -> None:
        require_fields(self)
        _at_least(1, neighbours=self.neighbours)
        _at_least(0, draws=self.draws)
        _one_of(("", "path", "wup"), wordnet=self.wordnet)
        for name in self.measures:
            _one_of(MEASURES, measures=name)


@dataclass(frozen=True)
class Study:
    """All settings of a run.

    Args:
        name: of the study.
        seed: of everything that is left to chance.
    """

    data: DataSettings
    models: tuple[ModelSettings, ...]
    name: str = "study"
    seed: int = 0
    dissect: DissectSettings = field(default_factory=DissectSettings)
    segment: SegmentSettings = field(default_factory=SegmentSettings)
    classify: ClassifySettings = field(default_factory=ClassifySettings)
    compare: CompareSettings = field(default_factory=CompareSettings)
    pack: PackSettings = field(default_factory=PackSettings)
    resample: ResampleSettings = field(default_factory=ResampleSettings)
    tcav: TcavSettings = field(default_factory=TcavSettings)
    look: LookSettings = field(default_factory=LookSettings)
    atlas: AtlasSettings = field(default_factory=AtlasSettings)

    def __post_init__(self) -> None:
        require_fields(self)
        if not self.name.strip():
            raise InputError("the study's name is empty")
        require_seed(self.seed)
        titles = [model.title for model in self.models]
        for title in titles:
            if titles.count(title) > 1:
                raise InputError(f"two models are called {title!r}; give each its own name")


def _at_least(least: int, **given: int) -> None:
    """Raise unless every number given is at least so much."""
    for name, value in given.items():
        if value < least:
            raise InputError(f"{name} is at least {least}; got {value}")


def _one_of(known: Iterable[str], **given: str) -> None:
    """Raise unless every text given is a known one."""
    for name, value in given.items():
        if value not in known:
            raise InputError(f"{name} is one of {', '.join(filter(None, known))}; got {value!r}")


def _check_probe(settings: SegmentSettings | ClassifySettings) -> None:
    """Raise unless the settings that both probes have make sense."""
    _one_of(SPLITS, split=settings.split)
    _at_least(1, min_examples=settings.min_examples)
    for size in settings.sizes:
        _at_least(1, sizes=size)
