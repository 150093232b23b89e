"""Scores out of what networks return, and classes by name or column."""

from collections import namedtuple

import numpy as np
import pytest
import torch
from torch import nn

from conceptlab.errors import InputError, ModelError
from conceptlab.models import load_model
from conceptlab.models.outputs import HOW, class_columns, class_name, scores_of

SCORES = torch.arange(6.0).reshape(2, 3)
Named = namedtuple("Named", ["aux", "scores"])


def model_of(names=None):
    model = load_model(nn.Linear(3, 3), size=4)
    model.class_names = names
    return model


@pytest.mark.parametrize(
    ("returned", "output", "wanted"),
    [
        (SCORES, None, SCORES),
        ({"a": -SCORES, "b": SCORES}, "b", SCORES),
        ((-SCORES, SCORES), 1, SCORES),
        ([-SCORES, SCORES], -1, SCORES),
        (Named(-SCORES, SCORES), lambda found: found.scores, SCORES),
        (SCORES, lambda found: found[:, 1], SCORES[:, 1:2]),
        (SCORES.half(), None, SCORES.half()),
    ],
)
def test_scores_are_found_where_they_are_said_to_be(returned, output, wanted):
    found = scores_of(returned, output)
    assert found.ndim == 2
    assert torch.equal(found, wanted)


@pytest.mark.parametrize(
    ("returned", "output", "message"),
    [
        ({"a": SCORES, "b": SCORES}, None, "a dictionary with 'a', 'b', and no tensor; say which"),
        ((SCORES, SCORES), None, "a tuple of 2, and no tensor; say which scalar is meant"),
        ([SCORES], None, "a list of 1, and no tensor"),
        ({"a": SCORES}, "c", "a dictionary with 'a', which has no 'c'; say which"),
        ((SCORES,), 4, "a tuple of 1, which has no 4; say which"),
        ((SCORES,), "a", "a tuple of 1, which has no 'a'"),
        (3.5, None, "a float, and no tensor"),
        (3.5, 0, "a float, which has no 0"),
        (SCORES, lambda found: 1.0, "a float, and no tensor"),
        (SCORES[:, :, None], None, r"a tensor of shape \(2, 3, 1\) .*not one number per picture"),
        (SCORES.sum(), None, r"a tensor of shape \(\)"),
        (SCORES.argmax(dim=1), None, "type torch.int64, and not one number per picture and class"),
    ],
)
def test_what_holds_no_scores_is_said(returned, output, message):
    with pytest.raises(ModelError, match=message) as caught:
        scores_of(returned, output)
    assert HOW in str(caught.value)


def test_classes_are_names_or_columns():
    model = model_of(["ant", "bee", "7"])
    assert class_columns(model, ["bee", 0, "2", np.int64(1)], 3).tolist() == [1, 0, 2, 1]
    assert class_columns(model, ["7"], 3).tolist() == [2]  # a name goes before a number
    assert class_columns(model_of(), [2, "1"], 3).tolist() == [2, 1]
    assert class_columns(model, [], 3).shape == (0,)


@pytest.mark.parametrize(
    ("names", "which", "message"),
    [
        (["ant", "bee", "cat"], "beee", "Linear has no class 'beee'; nearest: bee"),
        (["ant", "bee", "cat"], "zzz", "no class 'zzz'; known: ant, bee, cat"),
        (None, "bee", "no class 'bee'; say a column, 0 to 2"),
        (["ant", "bee", "cat"], 3, "Linear has no class 3; its columns are 0 to 2"),
        (["ant", "bee", "cat"], -1, "no class -1; its columns are 0 to 2"),
        (["ant", "bee", "cat"], "12", "no class 12; its columns are 0 to 2"),
        (["ant", "ant", "cat"], "ant", "2 classes of Linear are called 'ant'; .*columns 0, 1"),
    ],
)
def test_classes_that_do_not_exist(names, which, message):
    with pytest.raises(InputError, match=message):
        class_columns(model_of(names), [which], 3)


def test_names_as_tables_write_them():
    model = model_of(["ant", "bee", "ant"])
    assert [class_name(model, w) for w in ("bee", 1, "1", np.int64(1))] == ["bee"] * 4
    assert [class_name(model, w) for w in (0, 2, "2")] == ["ant (0)", "ant (2)", "ant (2)"]
    assert class_name(model, 5) == "5"
    assert class_name(model_of(), 1) == "1"
