"""Embeddings that lie on disk, by name: files of vectors, layers of the cache, run folders."""

from collections.abc import Sequence
from pathlib import Path

from conceptlab.activations.store import Activations
from conceptlab.errors import CacheError, InputError
from conceptlab.files import open_hdf5
from conceptlab.vectors import ConceptVectors

Embedding = ConceptVectors | Activations
KINDS = {"segment": "segmentation", "classify": "classification", "unit": "best unit"}


def read_spaces(paths: Sequence[Path], task: str = "segment") -> dict[str, Embedding]:
    """Everything at some places that can be compared, by a name for people.

    Args:
        paths: files of concept vectors, a layer's file in the cache (its pooled activations), or
            run folders (all their vectors of a task).
        task: 'segment', 'classify' or 'unit', in run folders.

    Raises:
        InputError: a place that is none of these.
    """
    found: dict[str, Embedding] = {}
    for path in paths:
        files = _of_run(path, task) if path.is_dir() else {"": path}
        for name, file in files.items():
            space = _read(file)
            name = name or _title(space)
            if name in found:
                name = f"{name} ({path})"
            found[name] = space
    return found


def read_vectors(path: Path, task: str = "segment") -> ConceptVectors:
    """The concept vectors of a file, or of a run folder that has but one embedding of a task.

    Raises:
        InputError: no vectors there, or several to choose from.
    """
    files = _of_run(path, task) if path.is_dir() else {"": path}
    if len(files) > 1:
        raise InputError(
            f"{path} holds {len(files)} embeddings; say which: "
            + ", ".join(str(file) for file in files.values())
        )
    return ConceptVectors.load(next(iter(files.values())))


def _of_run(path: Path, task: str) -> dict[str, Path]:
    """'MODEL LAYER' to the file of vectors of a task, in a run folder."""
    if task not in KINDS:
        raise InputError(f"task is one of {', '.join(KINDS)}; got {task!r}")
    files = sorted(path.glob(f"vectors/*/*/{task}.h5"))
    if not files:
        raise InputError(
            f"{path} holds no {KINDS[task]} vectors (vectors/MODEL/LAYER/{task}.h5); give a file "
            "of vectors, a layer's file of the cache, or a run folder"
        )
    return {f"{file.parts[-3]} {file.parts[-2]}": file for file in files}


def _read(path: Path) -> Embedding:
    try:
        with open_hdf5(path, "r") as file:
            layer = "activations" in file
    except OSError as error:
        raise InputError(
            f"{path} is neither a file of concept vectors nor a layer of the cache ({error})"
        ) from error
    if not layer:
        return ConceptVectors.load(path)
    try:
        return Activations(path)
    except CacheError as error:
        raise InputError(str(error)) from error


def _title(space: Embedding) -> str:
    if isinstance(space, ConceptVectors):
        return f"{space.space.model} {space.space.layer} {space.kind}"
    return f"{space.model_name} {space.layer}"
