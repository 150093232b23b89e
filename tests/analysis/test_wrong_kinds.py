"""What is no network, or no vectors, is refused in a sentence, and not by an attribute."""

import numpy as np
import pandas as pd
import pytest
import torch

import conceptlab as cl
from conceptlab.errors import InputError

TABLE = pd.DataFrame({"name": ["a"], "category": "thing"})
VECTORS = cl.ConceptVectors(
    np.ones((1, 2)), np.zeros(1), TABLE, "cav", cl.Space("net", "f" * 8, "layer", 2, "raw")
)
PICTURES = {"a": torch.zeros(4, 3, 8, 8)}
CALLS = {
    "tcav": lambda given: cl.tcav(given, PICTURES, VECTORS),
    "erase": lambda given: cl.erase(given, PICTURES, VECTORS),
    "decompose": lambda given: cl.decompose(given, PICTURES, VECTORS),
    "decompose_image": lambda given: cl.decompose_image(given, PICTURES["a"][:1], VECTORS),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("given", [VECTORS, torch.nn.Identity(), "builtin:scenenet", None])
def test_a_network_is_needed_first(call, given):
    said = r"^model is of the type ProbedModel, which conceptlab\.load_model gives; got "
    with pytest.raises(InputError, match=said):
        CALLS[call](given)
