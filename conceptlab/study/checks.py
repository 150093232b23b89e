"""What a study can know to be wrong before anything long runs."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from conceptlab.analysis.vectors.neighbours import parse_sum
from conceptlab.errors import InputError
from conceptlab.registry import near_matches
from conceptlab.study.classes import AUTOMATIC, known_classes
from conceptlab.study.comparison import require_references
from conceptlab.study.folder import RunFolder
from conceptlab.study.opening import open_model
from conceptlab.study.same import holds_data, holds_model
from conceptlab.study.settings import Study
from conceptlab.study.steps import require_splits
from conceptlab.vectors import index_of

if TYPE_CHECKING:
    import pandas as pd

    from conceptlab.data.base import ProbeDataset
    from conceptlab.models.probed import ProbedModel


def check_study(study: Study, data: "ProbeDataset", run: RunFolder | None = None) -> None:
    """Raise now, and not after hours, if a study cannot be done as it is written.

    Args:
        study: the settings.
        data: its probe data set.
        run: the run folder that its results go to; None where nothing will be written.

    Raises:
        InputError: a split that the data set lacks, a network that cannot be loaded, a layer, class
            or concept that is not there, or a run folder that holds results of something else.
    """
    require_splits(study, data, "segment", "classify")
    require_references(study.compare)
    for text in study.compare.arithmetic:
        parse_sum(text)
    models = []
    for settings in study.models:
        models.append(open_model(settings, study.seed))
        models[-1].resolve(settings.layers)
        if run is not None:
            holds = holds_data(data, study.data.label_size) | holds_model(models[-1], settings)
            run.require_same((settings.title, "", ""), holds)
    require_known("[tcav]", study.tcav.classes, *models)
    require_known("[atlas]", study.atlas.classes, *models)
    require_sources(study.tcav.classes, data.catalogue)


def require_known(where: str, entries: Iterable[str], *models: "ProbedModel") -> None:
    """Raise if none of some networks has a class that is asked about.

    Args:
        where: the classes are named.
        entries: CLASS, CLASS=CONCEPT or CLASS=FOLDER.
        models: the networks.

    Raises:
        InputError: with the nearest names.
    """
    names = [name for model in models for name in model.class_names or []]
    for entry in entries:
        if not any(known_classes(model, [entry], quiet=True) for model in models):
            name = entry.partition("=")[0]
            near = near_matches(name, names)
            raise InputError(f"{where}: no network has a class {name!r}; {near}")


def require_sources(entries: Iterable[str], concepts: "pd.DataFrame") -> None:
    """Raise if the pictures of a class are to be found by a concept that is not one.

    Args:
        entries: CLASS, CLASS=CONCEPT or CLASS=FOLDER.
        concepts: of the data set: columns name, category.

    Raises:
        InputError: no such concept or folder, or a name that several categories share.
    """
    for entry in entries:
        _, _, source = entry.partition("=")
        if source and entry != AUTOMATIC and not Path(source).is_dir():
            try:
                index_of(concepts, source)
            except InputError as error:
                raise InputError(f"class {entry!r}: {error}, or a folder of pictures") from error
