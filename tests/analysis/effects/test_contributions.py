"""How often pictures pass, and what is taken for granted between them."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from PIL import Image

from conceptlab.analysis.effects.basis import candidates
from conceptlab.analysis.effects.contributions import (
    Passes,
    Question,
    along,
    completed,
    of_class,
    summed,
)
from tests.analysis.effects.test_decomposition import (
    Kink,
    bent,
    class_read_aloud,
    pictures,
    random_vectors,
    toy,
)


def found_of(model, images, size=3):
    """What is found of class 1, and how many pictures went through the network for it."""
    concepts = candidates(model, random_vectors(model), None, "greedy", 7, False)
    question, count = Question(model, "conv", 1, None), []
    handle = model.module.conv.register_forward_hook(lambda m, i, o: count.append(len(o)))
    found = of_class(question, Passes(model, images, size, None), concepts)
    handle.remove()
    return found, sum(count)


WHITE = Image.new("RGB", (12, 12), (255, 255, 255))
STRANGERS = 2


@pytest.mark.parametrize(
    ("rest", "skip", "images", "passed"),
    [
        (None, False, pictures(7), 7 + 3 + 2 * STRANGERS),  # once, and the baseline of a batch
        (None, True, pictures(7), 7 + 7 + 2 * STRANGERS),  # once, and every baseline
        (bent, False, pictures(7), 2 * 7 + 3 + 2 * STRANGERS),  # twice
        (bent, True, pictures(7), 2 * 7 + 7 + 2 * STRANGERS),
        # what only the sixth picture shows: two batches once, then all of them twice
        (Kink, False, [*pictures(5), WHITE, WHITE], 6 + 3 + 2 + 2 * 7 + 3 + 2 * STRANGERS),
    ],
)
def test_pictures_pass_as_often_as_they_have_to(rest, skip, images, passed):
    model = toy(rest and rest(), skip=skip)
    found, count = found_of(model, images)
    assert count == passed
    w, pooled, logits = class_read_aloud(model, images, 1)
    assert_allclose(found.weights, w, atol=1e-6)
    assert_allclose(found.contributions.sum(axis=1), logits[:, 1], atol=1e-6)
    concepts = found.contributions[:, :-2].sum(axis=1)
    assert_allclose(concepts, pooled @ w, atol=1e-5)
    blank = model.module.head.bias.detach().numpy()[1]
    if not skip and rest is not bent:
        assert_allclose(found.contributions[:, -2], blank, rtol=1e-6)
    assert (np.ptp(found.contributions[:, -2]) > 1e-3) == skip
    np.testing.assert_array_equal(found.right, logits.argmax(axis=1) == 1)


def test_c_p_is_what_of_the_gradient_is_along_w():
    values = np.array([[[1.0, 2.0]], [[3.0, 5.0]]])  # two units at two positions
    gradient = np.array([[[2.0, 0.0]], [[0.0, 7.0]]])
    w = np.array([2.0, 0.0])
    assert along(values, gradient, w).tolist() == [[[1.0, 0.0]], [[3.0, 0.0]]]
    assert not along(values, gradient, np.zeros(2)).any()
    assert summed(gradient[None]).tolist() == [2.0, 7.0]


def test_the_remainder_is_what_is_missing_of_the_logit():
    whole = completed(np.array([[1.0, 2.0]]), np.array([0.5]), np.array([5.0]))
    assert whole.tolist() == [[1.0, 2.0, 0.5, 1.5]]
