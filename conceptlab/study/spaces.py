"""Embeddings that lie on disk, by name: files of vectors, layers of the cache, run folders."""

from collections.abc import Sequence
from pathlib import Path

from conceptlab.activations.store import Activations
from conceptlab.errors import CacheError, InputError
from conceptlab.hdf5 import FormatError, reading
from conceptlab.study.folder import RunFolder
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
            for more in (path.name, str(path)):
                name = name if name not in found else f"{name} ({more})"
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
    file = next(iter(files.values()))
    if not file.is_file():
        raise InputError(f"there is no file or run folder {path}")
    return ConceptVectors.load(file)


def _of_run(path: Path, task: str) -> dict[str, Path]:
    """'MODEL LAYER' to the file of vectors of a task, in a run folder."""
    if task not in KINDS:
        raise InputError(f"task is one of {', '.join(KINDS)}; got {task!r}")
    steps = (path / "steps").is_dir()
    made = RunFolder(path).vectors() if steps else {}
    files = {f"{model} {layer}": p for (model, layer, own), p in made.items() if own == task}
    if not files:
        raise InputError(
            f"{path} holds no {KINDS[task]} vectors: give a file of vectors, a layer's file of the "
            "cache, or a run folder"
        )
    return files


def _read(path: Path) -> Embedding:
    if not path.is_file():
        raise InputError(f"there is no file or run folder {path}")
    try:
        with reading(path) as file:
            layer = "activations" in file
    except (OSError, FormatError) as error:
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
