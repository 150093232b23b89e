"""Net2Vec's own optimiser: stochastic gradient descent, each concept on batches of its images."""

import numpy as np

from conceptlab.activations.stream import Stream
from conceptlab.probes.segmentation.problem import PixelProblem
from conceptlab.probes.segmentation.ridge import Flags, Solution

#: Section 3.1.2.
RATE, MOMENTUM, BATCH, EPOCHS = 1e-4, 0.9, 64, 30


def descend(problem: PixelProblem, allowed: Flags, bias: bool, seed: int) -> Solution:
    """Section 3.1.2's SGD with momentum.

    Args:
        problem: the images and labels.
        allowed: (C, K) which units each concept may use.
        bias: learn a bias.
        seed: of the first weights and of the order of images.

    Returns:
        Weights (C, K) and biases (C,).
    """
    generator = np.random.default_rng(seed)
    units = allowed.shape[1]
    bound = 1.0 / np.sqrt(units)
    weights = np.where(allowed, generator.uniform(-bound, bound, allowed.shape), 0.0)
    offset = np.zeros(len(allowed))
    speed, offset_speed = np.zeros_like(weights), np.zeros_like(offset)
    trains = problem.trains & allowed.any(axis=1)
    stream = problem.stream
    partner = stream.label_rows
    for _ in range(EPOCHS):
        order = generator.permutation(len(stream.images))
        shown = trains[partner[order]]
        place = np.where(shown, (shown.cumsum(axis=0) - 1) // BATCH, -1)
        for step in range(place.max() + 1):
            chosen = place == step
            rows = np.flatnonzero(chosen.any(axis=1))
            part = Stream(
                stream.inputs, stream.labels, stream.images[order[rows]],
                partner[order[rows]], stream.align_corners,
            )  # fmt: skip
            pairs = np.zeros_like(trains)
            pairs[partner[order[rows]]] = chosen[rows]
            moving = chosen.any(axis=0)
            count = np.maximum(chosen.sum(axis=0), 1)
            now = PixelProblem(part, pairs, problem.alpha, problem.mode)
            _, d_weights, d_bias = now.sums(weights, offset, pairs)
            step_weights = MOMENTUM * speed + d_weights / count[:, None]
            speed = np.where(moving[:, None], step_weights * allowed, speed)
            weights = np.where(moving[:, None], weights - RATE * speed, weights)
            if bias:
                offset_speed = np.where(
                    moving, MOMENTUM * offset_speed + d_bias / count, offset_speed
                )
                offset = np.where(moving, offset - RATE * offset_speed, offset)
    return weights, offset
