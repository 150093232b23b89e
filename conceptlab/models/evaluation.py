"""Evaluation mode for a while; the model is given back as it was."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from conceptlab.models.alone import alone


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode, and every part's own mode, `requires_grad` and buffers back at the end.

    Other threads wait, see `conceptlab.models.alone`.
    """
    with alone(module):
        modes = {part: part.training for part in module.modules()}
        buffers = [(buffer, buffer.detach().clone()) for buffer in module.buffers()]
        wanted = {parameter: parameter.requires_grad for parameter in module.parameters()}
        try:
            module.eval()
            yield
        finally:
            for part, mode in modes.items():
                part.training = mode
            for parameter, flag in wanted.items():
                if parameter.requires_grad != flag:
                    parameter.requires_grad_(flag)
            with torch.no_grad():
                for buffer, before in buffers:
                    if not torch.equal(buffer, before):  # statistics of what stays in training
                        buffer.copy_(before)
