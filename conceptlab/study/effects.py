"""The steps of a study that ask what concepts do to predictions: TCAV, decomposition, erasure."""

import io
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd

from conceptlab.activations.pictures import DatasetPictures
from conceptlab.analysis.effects.decomposition import decompose, decompose_image
from conceptlab.analysis.effects.erased_probe import erased_probe
from conceptlab.analysis.effects.erasure import erase
from conceptlab.analysis.effects.families import concept_families, family_correlations
from conceptlab.analysis.effects.tcav import tcav
from conceptlab.errors import InputError
from conceptlab.keys import canonical, digest_chunks
from conceptlab.probes.cav.probe import CavProbe
from conceptlab.probes.cav.result import Cavs
from conceptlab.study.classes import spaced_rows
from conceptlab.study.folder import Outputs, RunFolder
from conceptlab.study.same import Holds
from conceptlab.study.settings import TcavSettings
from conceptlab.study.steps import LABEL_SIZE, SEED, Layer, made
from conceptlab.vectors import ConceptVectors, index_of, qualified_names

if TYPE_CHECKING:
    from conceptlab.activations.pictures import Pictures
    from conceptlab.models.outputs import Output
    from conceptlab.models.probed import ProbedModel

log = logging.getLogger(__name__)
CAVS = (  # what CAVs read
    "tcav.against", "tcav.classifier", "tcav.form", "tcav.random", "tcav.examples", "tcav.redraws",
    "tcav.min_examples", LABEL_SIZE, SEED,
)  # fmt: skip
BASIS = ("tcav.method", "tcav.components", "tcav.centred")
REFERENCE = 200  # pictures whose mean a layer is set to along a concept that is taken out
SHARP = 0.1  # penalty of the CAVs that are taken out


@dataclass(frozen=True)
class Effects:
    """What the steps of a layer work on.

    Args:
        layer: its activations, data and study.
        model: the network.
        pictures: class to pictures.
        output: where the scores are in what the network returns.
        progress: show bars.
    """

    layer: Layer
    model: "ProbedModel"
    pictures: "Mapping[str, Pictures]"
    output: "Output" = None
    progress: bool = False
    _found: dict[str, Cavs] = field(default_factory=dict, repr=False)

    @property
    def settings(self) -> TcavSettings:
        """Those of the study's [tcav]."""
        return self.layer.study.tcav

    @property
    def cavs(self) -> Cavs:
        """The layer's concept activation vectors."""
        return self._learned()

    @property
    def sharp(self) -> Cavs:
        """Those that are taken out of it: what tells the concept from all else that varies.

        With a stiff penalty a CAV is nearly the difference of two means, and random ones vary just
        as the layer does: a layer that varies in few ways has no control that leaves a class alone.
        """
        return self._learned(penalty=SHARP)

    def _learned(self, **more: Any) -> Cavs:
        """The CAVs of the settings; learned once for the steps of a layer."""
        settings, study = self.settings, self.layer.study
        how = {
            "against": settings.against, "classifier": settings.classifier, "form": settings.form,
            "random": settings.random, "examples": settings.examples, "redraws": settings.redraws,
            "min_examples": settings.min_examples, "label_size": self.layer.label_size,
            "seed": study.seed, **more,
        }  # fmt: skip
        name = canonical(how)
        if name not in self._found:
            probe = CavProbe(**how)
            self._found[name] = probe.fit(self.layer.activations, self.layer.data).cavs
        return self._found[name]

    @property
    def directions(self) -> ConceptVectors:
        """The CAVs' mean directions, for what takes vectors over units.

        Raises:
            InputError: CAVs over flattened maps.
        """
        if self.settings.form == "flattened":
            raise InputError(
                "decomposition and erasure take vectors over units, and these CAVs are over "
                "flattened maps; choose form pooled or positions"
            )
        return self.cavs.vectors

    def reading(self, *reads: str) -> Self:
        """The same for a step that reads some settings, and can read no others."""
        return replace(self, layer=self.layer.reading(*reads))

    def key(self, step: str) -> dict[str, Any]:
        """Everything that a step's outputs depend on."""
        return self.layer.key(step) | {
            "output": str(self.output),
            "classes": {name: _identity(p) for name, p in self.pictures.items()},
        }

    @property
    def holds(self) -> Holds:
        """What results are of, for the run folder."""
        return self.layer.holds


def _identity(pictures: Any) -> Any:
    """What identifies the pictures of a class, as a JSON value."""
    if isinstance(pictures, DatasetPictures):
        return pictures.rows.tolist()
    return digest_chunks(Path(p).read_bytes() for p in pictures)


def make_tcav(
    run: RunFolder, model: str, name: str, effects: Effects, others: Sequence[Path] = ()
) -> Path:
    """TCAV of a layer's CAVs, and of other vectors of it against the same random vectors."""
    return made(
        run, (model, name, "tcav"), effects, lambda own: tcav_step(own, others), CAVS,
        others=[digest_chunks([path.read_bytes()]) for path in others],
    )  # fmt: skip


def make_decomposition(run: RunFolder, model: str, name: str, effects: Effects) -> Path:
    """The decomposition of classes at a layer, and of one picture of each."""
    return made(run, (model, name, "decompose"), effects, decompose_step, (*CAVS, *BASIS))


def make_erasure(
    run: RunFolder, model: str, name: str, effects: Effects, concepts: Sequence[str] | None = None
) -> Path:
    """The erasure of some concepts; else of those that the layer's TCAV finds most effective."""
    if concepts:
        catalogue = effects.layer.data.catalogue
        names = qualified_names(catalogue)
        chosen = [names[index_of(catalogue, concept)] for concept in concepts]
    else:
        chosen = strongest(_tcav_rows(run, model, name), effects.settings.erase)
    return made(
        run, (model, name, "erase"), effects, lambda own: erase_step(own, chosen),
        (*CAVS, "tcav.units", "classify.split"), concepts=chosen, penalty=SHARP,
    )  # fmt: skip


def _tcav_rows(run: RunFolder, model: str, name: str) -> pd.DataFrame:
    """The rows of a layer's TCAV, as its step has left them."""
    found = run.gather("tcav", "tcav")
    return found[(found["model"] == model) & (found["layer"] == name)] if len(found) else found


def tcav_step(effects: Effects, others: Sequence[Path]) -> Outputs:
    """TCAV of all concepts and classes; the CAVs' mean directions."""
    cavs, pictures = effects.cavs, effects.pictures
    how: dict[str, Any] = {
        "seed": effects.layer.study.seed, "output": effects.output, "progress": effects.progress,
    }  # fmt: skip
    table = tcav(effects.model, pictures, cavs, **how)
    tables = [table]
    if others and effects.settings.form != "flattened":
        vectors = _loaded(others)
        if vectors:
            tables.append(tcav(effects.model, pictures, vectors, random=cavs, **how))
    found = pd.concat([_flat(t) for t in tables], ignore_index=True)
    kept = {"cav": cavs.vectors} if effects.settings.form != "flattened" else {}
    return Outputs({"tcav": found, "cavs": cavs.vectors.concepts}, kept, {})


def _loaded(paths: Sequence[Path]) -> list[ConceptVectors]:
    """The vectors of some files, each of a kind of its own."""
    kinds, found = {"cav"}, []
    for path in paths:
        vectors = ConceptVectors.load(path)
        kind = vectors.kind if vectors.kind not in kinds else f"{vectors.kind} {path.stem}"
        while kind in kinds:
            kind += "'"
        kinds.add(kind)
        if vectors.usable.any():
            found.append(replace(vectors, kind=kind))
    return found


def decompose_step(effects: Effects) -> Outputs:
    """What concepts contribute to each class, and the picture row of one picture of each."""
    chosen = _basis_settings(effects)
    found = decompose(
        effects.model, effects.pictures, effects.directions,
        output=effects.output, progress=effects.progress, **chosen,
    )  # fmt: skip
    pictures = {
        f"row-{place}.png": _image_row(effects, name, chosen)
        for place, name in enumerate(effects.pictures)
    }
    index = pd.DataFrame({"class": list(effects.pictures), "picture": list(pictures)})
    table = found.table.drop(columns="layer")
    return Outputs({"table": table, "classes": found.classes, "rows": index}, {}, pictures)


def erase_step(effects: Effects, concepts: Sequence[str]) -> Outputs:
    """What taking concepts out of a layer does to classes and to their probe."""
    if not concepts:
        return Outputs({"table": pd.DataFrame(), "probe": pd.DataFrame()}, {}, {})
    vectors, layer = effects.sharp.vectors.select(list(concepts)), effects.layer
    settings = effects.settings
    found = erase(
        effects.model, effects.pictures, vectors, random=effects.sharp, units=settings.units,
        reference=spaced_rows(layer.data, REFERENCE), seed=layer.study.seed, output=effects.output,
        progress=effects.progress,
    )  # fmt: skip
    names = dict(zip(vectors.names, concepts, strict=True))
    probe = erased_probe(
        layer.activations, layer.data, vectors, layer.study.classify.split, units=settings.units,
        seed=layer.study.seed,
    )  # fmt: skip
    tables = {"table": found.table.drop(columns="layer"), "probe": probe}
    return Outputs(
        {k: t.assign(concept=t["concept"].map(names)) for k, t in tables.items()}, {}, {}
    )


def strongest(table: pd.DataFrame, count: int) -> list[str]:
    """The concepts that some class depends on most, by the size of the effect of their CAV."""
    own = table[(table["kind"] == "cav") & (table["note"] == "")] if len(table) else table
    if not len(own):
        return []
    size = own["effect"].abs().groupby(own["concept"], sort=False).max().dropna()
    return [str(n) for n in size.sort_values(ascending=False, kind="stable").index[:count]]


def write_effects(run: RunFolder, concepts: pd.DataFrame) -> None:
    """Write the tables of a run that its steps of TCAV, decomposition and erasure allow."""
    found = {
        "tcav": run.gather("tcav", "tcav"),
        "cavs": run.gather("tcav", "cavs"),
        "decomposition": run.gather("decompose", "table"),
        "decomposed_classes": run.gather("decompose", "classes"),
        "erasure": run.gather("erase", "table"),
        "erased_probe": run.gather("erase", "probe"),
    }
    families = concept_families(concepts, found["tcav"], found["decomposition"], found["erasure"])
    found |= {"families": families, "family_correlations": family_correlations(families)}
    for name, table in found.items():
        run.table(name, table)
    rows = [
        {"model": model, "layer": layer, "class": row["class"],
         "picture": str((folder / row["picture"]).relative_to(run.path))}
        for model, layer, folder in run.steps("decompose")
        for row in _rows_of(folder)
    ]  # fmt: skip
    run.table("decomposed_pictures", pd.DataFrame(rows))


def _rows_of(folder: Path) -> list[dict[str, Any]]:
    from conceptlab.study.folder import read_table

    path = folder / "rows.csv"
    return read_table(path).to_dict("records") if path.is_file() else []


def _basis_settings(effects: Effects) -> dict[str, Any]:
    settings = effects.settings
    return {"method": settings.method, "components": settings.components,
            "centred": settings.centred}  # fmt: skip


def _image_row(effects: Effects, name: str, settings: Mapping[str, Any]) -> bytes:
    """A PNG of the picture row of a class's first picture."""
    from conceptlab.views.figures.panels import DPI
    from conceptlab.views.plots.decomposition import plot_image_row

    found = decompose_image(
        effects.model, effects.pictures[name][0], effects.directions, name,
        output=effects.output, **settings,
    )  # fmt: skip
    figure = plot_image_row(found)[0].get_figure(root=True)
    file = io.BytesIO()
    figure.savefig(file, dpi=DPI, format="png")
    return file.getvalue()


def _flat(table: pd.DataFrame) -> pd.DataFrame:
    """A table of TCAV for a file: the interval in two columns, the layer left to the folder."""
    interval = np.array(table["interval"].tolist()).reshape(-1, 2)
    place = table.columns.get_loc("interval")
    flat = table.drop(columns=["interval", "layer"])
    flat.insert(place - 1, "low", interval[:, 0])
    flat.insert(place, "high", interval[:, 1])
    return flat
