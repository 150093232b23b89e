"""The package as a whole: quick to import, every name there, a version."""

import importlib.metadata
import importlib.resources
import json
import os
import subprocess
import sys

import pytest

import conceptlab

HEAVY = ("torch", "umap", "captum", "matplotlib", "numpy", "pandas")


def python(*arguments):
    """What the interpreter says, on one thread."""
    return subprocess.run(
        [sys.executable, *arguments],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


IMPORT = "import conceptlab"
HELP = """
import sys
from conceptlab.cli import main
try:
    main(["--help"])
except SystemExit as end:
    assert not end.code
"""


@pytest.mark.parametrize(("code", "most"), [(IMPORT, 100), (HELP, 220)], ids=["import", "help"])
def test_it_starts_with_few_modules_and_none_that_is_heavy(code, most):
    """Modules are counted, and not seconds, which on a busy machine say nothing of the code."""
    said = python("-c", f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))")
    loaded = json.loads(said.splitlines()[-1])
    assert "conceptlab" in loaded
    assert {name.partition(".")[0] for name in loaded}.isdisjoint(HEAVY)
    assert len(loaded) <= most


@pytest.mark.parametrize("name", conceptlab.__all__)
def test_every_public_name_is_there_and_explained(name):
    assert getattr(conceptlab, name).__doc__
    assert name in dir(conceptlab)


@pytest.mark.parametrize("old", conceptlab.RENAMED)
def test_a_name_of_the_release_before_still_works_and_says_its_new_one(old):
    with pytest.warns(DeprecationWarning, match=f"is conceptlab.{conceptlab.RENAMED[old]} from"):
        found = getattr(conceptlab, old)
    assert found is getattr(conceptlab, conceptlab.RENAMED[old])


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"conceptlab.* nothing"):
        _ = conceptlab.nothing


def test_the_version_is_the_installed_one():
    assert conceptlab.__version__ == importlib.metadata.version("conceptlab")
    said = python("-m", "conceptlab", "--version")
    assert said == f"conceptlab {conceptlab.__version__}\n"


def test_it_says_that_it_is_typed():
    assert importlib.resources.files("conceptlab").joinpath("py.typed").is_file()
