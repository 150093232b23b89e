"""WordNets: a small one that is written here, and Debian's where it is installed."""

from pathlib import Path

import pytest

from conceptlab.analysis.references.synsets import FOLDER, wordnet_reader
from tests.analysis.references.wordnet_files import write_wordnet


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return write_wordnet(tmp_path_factory.mktemp("wordnet") / "dict")


@pytest.fixture(scope="module")
def whole():
    if not Path(FOLDER, "data.noun").is_file():
        pytest.skip("no WordNet where Debian's wordnet-base puts it")
    return wordnet_reader(FOLDER)
