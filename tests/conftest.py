"""Fixtures of all tests."""

from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("conceptlab", deadline=None)  # the first call compiles
settings.load_profile("conceptlab")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images, labels and weights beside the checkout, where there is one."""
    folder = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no shared data beside the checkout")
    return folder
