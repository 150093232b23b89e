"""The package as a whole: quick to import, every name there, a version."""

import importlib.metadata
import importlib.resources
import json
import os
import subprocess
import sys
import time

import pytest

import conceptlab

HEAVY = ("torch", "umap", "captum", "matplotlib")
LIMIT = 0.5  # seconds


def python(*arguments):
    """Run the interpreter on one thread; its output and seconds."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *arguments],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout, time.perf_counter() - started


IMPORT = "import conceptlab"
HELP = """
import sys
from conceptlab.cli import main
try:
    main(["--help"])
except SystemExit as end:
    assert not end.code
"""


@pytest.mark.parametrize(
    "arguments",
    [("-c", IMPORT), ("-m", "conceptlab", "--help")],
    ids=["import", "help"],
)
def test_it_starts_in_half_a_second(arguments):
    seconds = []
    while len(seconds) < 3 or (min(seconds) >= LIMIT and len(seconds) < 10):  # a busy machine
        seconds.append(python(*arguments)[1])
    assert min(seconds) < LIMIT, seconds


@pytest.mark.parametrize("code", [IMPORT, HELP], ids=["import", "help"])
def test_it_starts_without_heavy_libraries(code):
    said, _ = python("-c", f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))")
    loaded = json.loads(said.splitlines()[-1])
    assert "conceptlab" in loaded
    assert {name.partition(".")[0] for name in loaded}.isdisjoint(HEAVY)


@pytest.mark.parametrize("name", conceptlab.__all__)
def test_every_public_name_is_there_and_explained(name):
    assert getattr(conceptlab, name).__doc__
    assert name in dir(conceptlab)


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'conceptlab' has no attribute 'nothing'"):
        _ = conceptlab.nothing


def test_the_version_is_the_installed_one():
    assert conceptlab.__version__ == importlib.metadata.version("conceptlab")
    said, _ = python("-m", "conceptlab", "--version")
    assert said == f"conceptlab {conceptlab.__version__}\n"


def test_it_says_that_it_is_typed():
    assert importlib.resources.files("conceptlab").joinpath("py.typed").is_file()
