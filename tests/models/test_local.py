"""Modules of one's own that a network's file imports belong to the network."""

import os
import sys

import numpy as np
import pytest
from PIL import Image

from conceptlab.models.sources.load import load_model

NET = """
import os, sys
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import torch
from torch import nn
{imports}

class Act(nn.Module):
    def forward(self, x):
        return {call}(x)

def make():
    m = nn.Sequential(nn.Conv2d(3, 4, 3), Act())
    m.size = 16
    return m
"""
ONE = "def act(x):\n    return x * 2\n"
OTHER = "def act(x):\n    return x * 3\n"  # as long as the first, and within the same second


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    yield tmp_path
    for name in [
        n for n, m in sys.modules.items() if str(tmp_path) in str(vars(m).get("__file__"))
    ]:
        del sys.modules[name]


def write(folder, imports, call, **files):
    (folder / "net.py").write_text(NET.format(imports=imports, call=call))
    for name, text in files.items():
        path = folder / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


def loaded(folder):
    """The network's fingerprint, and what its last layer gives."""
    model = load_model(f"file:{folder / 'net.py'}:make")
    picture = Image.fromarray(np.arange(768, dtype=np.uint8).reshape(16, 16, 3))
    return model.fingerprint, model.activations(picture, ["1"])["1"]


@pytest.mark.parametrize(
    ("imports", "call", "changed", "files"),
    [
        ("from helper_a import act", "act", "helper_a", {"helper_a": ONE}),
        ("import helper_a", "helper_a.act", "helper_a", {"helper_a": ONE}),
        (
            "from helper_b import act", "act", "helper_a",
            {"helper_a": ONE, "helper_b": "from helper_a import act\n"},
        ),
        (
            "from pack_c.inner import act", "act", "pack_c/inner",
            {"pack_c/__init__": "", "pack_c/inner": ONE},
        ),
        ("def act(x):\n    import helper_a\n    return helper_a.act(x)\nimport helper_a as _",
         "act", "helper_a", {"helper_a": ONE}),
    ],
)  # fmt: skip
def test_a_changed_helper_is_another_network_in_the_same_process(
    folder, imports, call, changed, files
):
    write(folder, imports, call, **files)
    first, before = loaded(folder)
    assert loaded(folder)[0] == first
    write(folder, imports, call, **{**files, changed: OTHER})
    second, after = loaded(folder)
    assert second != first
    np.testing.assert_allclose(after, before * 1.5, rtol=1e-6)
    write(folder, imports, call, **files)
    again, same = loaded(folder)
    assert again == first
    np.testing.assert_array_equal(same, before)
    assert not list(folder.rglob("*.pyc"))


def test_a_changed_file_of_the_same_length_and_second_is_run_as_it_is(folder):
    stamp = 1_700_000_000
    found = []
    for text in (ONE, OTHER):
        write(folder, text, "act")
        os.utime(folder / "net.py", (stamp, stamp))
        found.append(loaded(folder))
    assert found[0][0] != found[1][0]
    np.testing.assert_allclose(found[1][1], found[0][1] * 1.5, rtol=1e-6)


def test_a_helper_that_this_process_had_imported_itself_stays_and_counts(folder):
    write(folder, "from helper_a import act", "act", helper_a=ONE)
    sys.path.insert(0, str(folder))
    import helper_a  # type: ignore[import-not-found]

    first, before = loaded(folder)
    write(folder, "from helper_a import act", "act", helper_a=OTHER)
    second, after = loaded(folder)
    assert sys.modules["helper_a"] is helper_a
    assert second != first  # what runs is the old code, and what it gives tells
    np.testing.assert_array_equal(after, before)


def test_installed_modules_do_not_count(folder):
    write(folder, "import numpy, timm", "torch.relu")
    alone, _ = loaded(folder)
    text = (folder / "net.py").read_text()
    model = load_model(f"file:{folder / 'net.py'}:make")
    assert model._code == text.encode()
    assert model.fingerprint == alone
    assert "timm" in sys.modules
