"""A forward pass of a network that somebody else wrote: whatever it does is said in a sentence."""

from typing import Any

import torch
from torch import Tensor, nn

from conceptlab.errors import NO_MEMORY, ConceptlabError, ModelError, UnfinishedError, first_line
from conceptlab.numerics.pixels import MODES

#: Tried where a network cannot run on its pictures.
SIZES = (224, 64, 32, 128, 256, 299, 384, 512, 28, 48, 96, 112, 160, 192, 240, 288, 16)
CHANNELS = (1, 3, 4, 2, 5, 6, 8, 9, 10, 12, 13, 7)


class PassFailed(ModelError, RuntimeError):
    """A network raised an exception in its forward pass, or left it."""


def forward(module: nn.Module, batch: Tensor) -> Any:
    """What a network returns for a batch.

    Args:
        module: any network.
        batch: its input.

    Raises:
        PassFailed: the network raised, or wanted to end the process.
        UnfinishedError: there is not enough memory for the batch.
    """
    try:
        return module(batch)
    except ConceptlabError:
        raise  # by a hook of ours
    except (Exception, SystemExit) as error:
        if isinstance(error, MemoryError) or any(words in str(error) for words in NO_MEMORY):
            raise UnfinishedError(
                f"there is not enough memory for a pass of {len(batch)} pictures; take a smaller "
                "--batch-size or --size and run the same command again"
            ) from error
        kind = type(error).__name__
        told = first_line(error)
        raise PassFailed(
            f"{type(module).__name__} fails in its forward pass of {len(batch)} x "
            f"{tuple(batch.shape[1:])} {str(batch.dtype).removeprefix('torch.')} values "
            f"({kind if told == kind else f'{kind}: {told}'})"
        ) from error


def what_runs(module: nn.Module, picture: Tensor) -> str:
    """What to do about a network that cannot run on a picture: other sizes and channels are tried.

    Args:
        module: the network, in evaluation mode.
        picture: (1, channels, S, S) that it does not take.

    Returns:
        The end of a sentence; '' where nothing that is tried helps.
    """
    channels, own = picture.shape[1], picture.shape[2]
    for side in SIZES:
        if side != own and _runs(module, picture.new_zeros(1, channels, side, side)):
            return f"; it runs on pictures of {side} x {side}: give another size with --size"
    for count in CHANNELS:
        for side in (own, *SIZES):
            if count != channels and _runs(module, picture.new_zeros(1, count, side, side)):
                if count not in MODES:
                    return f"; it takes {count} channels, and pictures have 1, 3 or 4"
                size = "" if side == own else f", and --size {side}"
                numbers = "give as many numbers with --mean and --std"
                return f"; it takes {count} channels: {numbers}{size}"
    return ""


def _runs(module: nn.Module, picture: Tensor) -> bool:
    try:
        with torch.no_grad():
            forward(module, picture)
    except ConceptlabError:
        return False
    return True
