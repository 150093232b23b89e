"""Gradient ascent of a batch of images, each for its own objective (000, programs 3.4 and 3.5)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from conceptlab.errors import ModelError
from conceptlab.models.probed import Preprocessing, ProbedModel
from conceptlab.synthesis.diversity import diversity_cost
from conceptlab.synthesis.forms import Form, form_of
from conceptlab.synthesis.network import Pass, gradient_of, require_path
from conceptlab.synthesis.objective import Objective, bind
from conceptlab.synthesis.regularise import penalty
from conceptlab.synthesis.settings import Synthesis
from conceptlab.synthesis.transform import motions, moved

FIRST = "for the picture that it starts from: check the weights and the preprocessing"
EPSILON = 1e-16  # of Adam: so small that an objective and its multiple give the same image


@dataclass(frozen=True)
class Seeded:
    """An objective and what makes its image its own.

    Args:
        objective: what the image is for.
        generator: of its start and its motions.
        group: which of the equal objectives it is one of.
    """

    objective: Objective
    generator: np.random.Generator
    group: int


@dataclass(frozen=True)
class Made:
    """A finished batch.

    Args:
        pictures: (n, S, S, 3) uint8.
        start: (n,) values of what they started from.
        value: (n,) values of the pictures.
        silent: (n,) whether no gradient arrived in the end.
        history: (octaves * steps, n) values at every step, of the picture as it was moved then.
    """

    pictures: NDArray[np.uint8]
    start: NDArray[np.float64]
    value: NDArray[np.float64]
    silent: NDArray[np.bool_]
    history: NDArray[np.float32]


class Ascent:
    """A batch of images on their way.

    Args:
        model: the network.
        run: its pass.
        batch: the objectives.
        settings: how.
        tick: called after every step.
    """

    def __init__(
        self,
        model: ProbedModel,
        run: Pass,
        batch: Sequence[Seeded],
        settings: Synthesis,
        tick: Callable[[], object],
    ) -> None:
        self._model, self._run, self._batch = model, run, batch
        self._settings, self._tick = settings, tick
        self._full = settings.size or model.preprocessing.geometry.size
        self._groups = _groups(batch) if settings.diversity else []
        self._silent = torch.zeros(len(batch), dtype=torch.bool, device=model.device)
        self._shapes: dict[str, tuple[int, ...]] | None = None
        self._history: list[Tensor] = []

    def make(self, start: Tensor | None) -> Made:
        """Optimise.

        Args:
            start: (n, 3, S, S) inputs of the network to begin with; noise if not given.
        """
        sides = self._settings.sides(self._full)
        if start is None:
            inputs = self._form(sides[0]).noise([own.generator for own in self._batch])
            inputs = self._form(sides[0]).inputs(inputs)
        else:
            inputs = _resized(start, sides[0])
        before = self._measure(_resized(inputs, self._full), FIRST)
        for side in sides:
            inputs = self._octave(_resized(inputs, side), side)
        pictures, seen = _levels(inputs, self._model.preprocessing)
        after = self._measure(seen, self._when())
        history = torch.stack(self._history) if self._history else torch.empty(0, len(self._batch))
        return Made(
            pictures.permute(0, 2, 3, 1).contiguous().cpu().numpy(),
            before.double().cpu().numpy(),
            after.double().cpu().numpy(),
            self._silent.cpu().numpy(),
            history.float().cpu().numpy(),
        )

    def _form(self, side: int) -> Form:
        model, settings = self._model, self._settings
        return form_of(settings.parameters, side, model.preprocessing, model.device, settings.decay)

    def _octave(self, inputs: Tensor, side: int) -> Tensor:
        """All steps at one size."""
        settings, form = self._settings, self._form(side)
        motion = motions([own.generator for own in self._batch], settings, side)
        values = form.values(inputs).requires_grad_()
        adam = torch.optim.Adam([values], lr=settings.rate, eps=EPSILON, maximize=True, fused=True)
        redirected: Tensor | None = None
        for step in range(settings.steps):
            inputs = form.inputs(values)
            seen = inputs
            if motion is not None:
                seen = moved(inputs, torch.from_numpy(motion[step]).to(inputs.device))
            seen = seen.contiguous(memory_format=torch.channels_last)
            gradient, redirected = self._gradient(seen, redirected)
            cost = penalty(inputs, settings)
            adam.zero_grad()
            roots, slopes = [seen], [gradient]
            if cost is not None:
                roots, slopes = [seen, cost], [gradient, -torch.ones_like(cost)]
            torch.autograd.backward(roots, slopes)
            adam.step()
            if settings.blur:
                with torch.no_grad():
                    values.copy_(form.blurred(values, settings.blur))
            self._tick()
        return form.inputs(values.detach())

    def _gradient(self, seen: Tensor, redirected: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The gradient of a step, and which pictures get a redirected one in the next."""
        score = self._scoring(seen)
        values, gradient = gradient_of(self._run, self._model, seen, score, redirected)
        self._check(values, self._when())
        self._history.append(values)
        rows = gradient.permute(0, 2, 3, 1).flatten(1)  # as it lies in memory
        zero = (rows.amax(1) == 0) & (rows.amin(1) == 0)
        plain = zero if redirected is None else torch.where(redirected, self._silent, zero)
        self._silent = plain  # a redirected gradient tells nothing of a picture
        if not zero.any():
            return gradient, None
        if len(self._history) == 1:
            require_path(self._run, self._model, seen)
        return gradient, zero

    def _scoring(self, inputs: Tensor) -> Callable[[dict[str, Tensor]], tuple[Tensor, Tensor]]:
        def score(outputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
            values = self._values(outputs)
            total = values.sum()
            if self._groups:
                total = total - diversity_cost(
                    values, outputs, self._groups, self._settings.diversity
                )
            return values, total

        return score

    def _values(self, outputs: dict[str, Tensor]) -> Tensor:
        """(n,) each image's own objective."""
        shapes = {layer: tuple(output.shape[1:]) for layer, output in outputs.items()}
        if shapes != self._shapes:
            self._shapes = shapes
            self._bound = [
                bind(own.objective, self._model, shapes, self._model.device) for own in self._batch
            ]
        rows = {layer: output.unbind() for layer, output in outputs.items()}
        return torch.stack(
            [
                value({layer: parts[place] for layer, parts in rows.items()})
                for place, value in enumerate(self._bound)
            ]
        )

    def _measure(self, inputs: Tensor, when: str) -> Tensor:
        with torch.no_grad():
            values = self._values(self._run(inputs.contiguous(memory_format=torch.channels_last)))
        self._check(values, when)
        return values

    def _check(self, values: Tensor, when: str) -> None:
        bad = (~torch.isfinite(values)).nonzero()
        if len(bad):
            place = int(bad[0])
            text = self._batch[place].objective.text
            raise ModelError(f"{text} is {float(values[place])} {when}")

    def _when(self) -> str:
        return f"at step {len(self._history)}: lower the rate, which is {self._settings.rate:g}"


def _groups(batch: Sequence[Seeded]) -> list[tuple[str, list[int]]]:
    """The layer and the places of each group of equal objectives, of two and more."""
    places: dict[int, list[int]] = {}
    for place, own in enumerate(batch):
        places.setdefault(own.group, []).append(place)
    return [
        (batch[rows[0]].objective.layers[-1], rows) for rows in places.values() if len(rows) > 1
    ]


def _resized(inputs: Tensor, side: int) -> Tensor:
    if inputs.shape[-1] == side:
        return inputs
    return interpolate(inputs, (side, side), mode="bilinear", align_corners=False, antialias=True)


def _levels(inputs: Tensor, preprocessing: Preprocessing) -> tuple[Tensor, Tensor]:
    """Pictures (n, 3, S, S) uint8, and what the network gets of them."""
    mean = torch.tensor(preprocessing.mean, device=inputs.device)[:, None, None]
    std = torch.tensor(preprocessing.std, device=inputs.device)[:, None, None]
    levels = ((inputs * std + mean) * 255).round().clamp(0, 255)
    return levels.nan_to_num().to(torch.uint8), (levels / 255 - mean) / std
