"""Reading weights without running anything that a file might hold."""

import logging
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from conceptlab.errors import ModelError
from conceptlab.files import is_file
from conceptlab.models.sources.source import FitState, State

log = logging.getLogger(__name__)

EXTRA = "_extra_state"  # what a module keeps beside tensors, as torch calls it
WRAPPERS = ("state_dict", "model", "model_state_dict")  # what training scripts call it most often


def read_state(path: str | Path) -> dict[str, Any]:
    """Tensors by name, from `.safetensors` or from a state dict that torch saved.

    Torch's files are read with `weights_only=True`: code in them is refused, not run. Of a
    checkpoint, the state dict in it is taken. What modules keep beside tensors (`get_extra_state`)
    comes along.

    Raises:
        ModelError: no such file, a damaged one, or one that holds anything else than tensors of
            numbers, or several state dicts of unknown names.
    """
    path = Path(path)
    if not is_file(path):
        raise ModelError(f"there is no weights file {path}")
    state = _safetensors(path) if path.suffix == ".safetensors" else _torch(path)
    state = _unwrapped(state, path)
    if not _is_state(state):
        raise ModelError(f"{path} holds no state dict: tensors by name, and nothing else")
    for key, value in state.items():
        if isinstance(value, Tensor) and not _is_plain(value):
            raise ModelError(
                f"{path} holds {key} in a form without plain numbers (sparse, quantized or meta); "
                "save dense tensors"
            )
    _require_values(state, path)
    return state


def _require_values(state: Mapping[str, Any], path: Path) -> None:
    """Refuse tensors of more bytes than their file: they repeat values, and any size can be told.

    Raises:
        ModelError: there is one.
    """
    size = path.stat().st_size
    for key, value in state.items():
        if isinstance(value, Tensor) and value.numel() * value.element_size() > size:
            raise ModelError(
                f"{path} declares more values for {key} than it holds; save it as a state dict of "
                "contiguous tensors"
            )


def _is_plain(value: Tensor) -> bool:
    return value.layout == torch.strided and not value.is_meta and not value.is_quantized


def _unwrapped(state: dict[str, Any], path: Path) -> dict[str, Any]:
    """The state dict within a checkpoint: one of a usual name, or the only one."""
    within = [k for k, v in state.items() if isinstance(v, Mapping) and _is_state(v)]
    usual = [k for k in WRAPPERS if k in within]
    if len(within) > 1 and not usual:
        raise ModelError(
            f"{path} holds several state dicts ({', '.join(within)}); save the one you mean alone"
        )
    return dict(state[(usual or within)[0]]) if within else state


def _is_state(found: Mapping[Any, Any]) -> bool:
    """Whether it is tensors by name, and nothing else."""
    return any(isinstance(v, Tensor) for v in found.values()) and all(
        isinstance(k, str) and (isinstance(v, Tensor) or k.endswith(EXTRA))
        for k, v in found.items()
    )


def load_weights(
    module: nn.Module,
    path: str | Path,
    training_only: tuple[str, ...] = (),
    fit_state: FitState | None = None,
) -> None:
    """Fill a module with the weights of a file; names and shapes have to fit exactly.

    Counters that only training uses (`num_batches_tracked`) may be missing, and so may all but one
    of the names of a tensor that the module has under several (safetensors keeps one). A wrapper's
    name before all others (`module.` of DataParallel, say) is left out where none fits with it,
    and values are brought to the module's own precision.

    Args:
        module: to fill.
        path: see `read_state`.
        training_only: beginnings of names that the file may hold and the module need not.
        fit_state: brings weights of other shapes to the module's, where its source knows how; used
            only where shapes differ.

    Raises:
        ModelError: as `read_state`, or weights that do not fit; the sentence names the first keys.
    """
    full = module.state_dict()
    own = {k: v for k, v in full.items() if isinstance(v, Tensor)}
    state = _bare_names(read_state(path), own)
    beside = {k: state.pop(k, v) for k, v in full.items() if k not in own}
    if fit_state and any(k in own and v.shape != own[k].shape for k, v in state.items()):
        state = fit_state(state, module)
    counters = {k: v for k, v in own.items() if k.endswith("num_batches_tracked")}
    state = {
        **counters,
        **_other_names(state, own),
        **{k: v for k, v in state.items() if k in own or not k.startswith(training_only)},
    }
    problems = [
        ("lacks", [k for k in own if k not in state]),
        ("has, and the network has not,", [k for k in state if k not in own]),
        (
            "has other shapes for",
            [
                f"{k} {tuple(state[k].shape)} instead of {tuple(own[k].shape)}"
                for k in own
                if k in state and state[k].shape != own[k].shape
            ],
        ),
        (
            "has other types for",
            [
                f"{k} {_type(state[k])} instead of {_type(own[k])}"
                for k in own
                if k in state and state[k].is_floating_point() != own[k].is_floating_point()
            ],
        ),
    ]
    for what, keys in problems:
        if keys:
            more = f" and {len(keys) - 2} more" if len(keys) > 2 else ""
            raise ModelError(
                f"the weights in {path} do not fit {type(module).__name__}: the file {what} "
                f"{', '.join(keys[:2])}{more}"
            )
    module.load_state_dict({**beside, **state})


def _other_names(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> State:
    """What a file lacks because the network has the same tensor under a name that it holds."""
    places = {k: (v.data_ptr(), v.shape, v.stride(), v.dtype) for k, v in own.items() if v.numel()}
    held = {place: k for k, place in places.items() if k in state}
    return {
        k: state[held[place]] for k, place in places.items() if k not in state and place in held
    }


def _bare_names(state: dict[str, Any], own: Mapping[str, Tensor]) -> dict[str, Any]:
    """The state without what stands before all of its names, where a network knows none of them."""
    bare = state
    while bare.keys().isdisjoint(own):
        if len({key.partition(".")[0] for key in bare}) > 1 or not all("." in k for k in bare):
            return state
        bare = {key.partition(".")[2]: value for key, value in bare.items()}
    return bare


def _type(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _safetensors(path: Path) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(path))
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{path} is no safetensors file, or a damaged one ({error})") from error


def _torch(path: Path) -> dict[str, Any]:
    _require_stored(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on pickle protocols: what follows says enough
            state = torch.load(path, map_location="cpu", weights_only=True)
    except PermissionError as error:
        raise ModelError(f"cannot read {path} ({error.strerror})") from error
    except Exception as error:  # damaged bytes make torch's reader raise anything
        if isinstance(error, pickle.UnpicklingError) and _is_foreign(path, str(error).lower()):
            raise ModelError(
                f"{path} holds more than tensors, possibly code, and was not loaded: save it as a "
                "state dict or as .safetensors"
            ) from error
        raise ModelError(
            f"{path} is no state dict that torch saved, or a damaged one (safetensors are files "
            "that end in .safetensors)"
        ) from error
    if not isinstance(state, Mapping):
        raise ModelError(f"{path} holds a {type(state).__name__}, and no state dict")
    return dict(state)


def _require_stored(path: Path) -> None:
    """Refuse an archive that unpacks to more than it is: torch stores its values as they are.

    Raises:
        ModelError: it does.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return  # no archive, or a damaged one: torch says so
    if unpacked > path.stat().st_size:
        raise ModelError(
            f"{path} is compressed, or declares more than it holds; save it with torch.save"
        )


def _is_foreign(path: Path, words: str) -> bool:
    """Whether torch refuses what a pickle asks for, or knows of no such step in a trusted one."""
    with path.open("rb") as file:
        begins = file.read(1) == pickle.PROTO
    return "global" in words or (begins and "unsupported operand" in words)


def redraw_weights(module: nn.Module) -> None:
    """Random weights in place of a module's own: the control without training.

    Parts draw them by their own `reset_parameters`. What that leaves as it was (a part without one,
    or one that does not know of `weight_norm`'s parameters) is permuted within each parameter: its
    distribution stays, and what it had learned goes.
    """
    permuted = []
    for name, part in module.named_modules():
        before = {k: v.detach().clone() for k, v in part.named_parameters(recurse=False)}
        reset = getattr(part, "reset_parameters", None) or getattr(part, "_reset_parameters", None)
        if reset is not None:
            reset()
        for own, parameter in part.named_parameters(recurse=False):
            if torch.equal(parameter, before[own]) and _varies(parameter):
                _permute(parameter)
                permuted.append(f"{name}.{own}".lstrip("."))
    if permuted:
        log.info(
            "the untrained control permutes the values of %d parameters that have no way to be "
            "drawn anew (%s first)",
            *(len(permuted), permuted[0]),
        )


def _varies(parameter: Tensor) -> bool:
    return bool((parameter != parameter.reshape(-1)[:1]).any())


def _permute(parameter: Tensor) -> None:
    with torch.no_grad():
        order = torch.randperm(parameter.numel()).to(parameter.device)
        parameter.copy_(parameter.reshape(-1)[order].reshape(parameter.shape))
