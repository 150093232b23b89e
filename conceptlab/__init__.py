"""How concepts are encoded inside vision networks: extract, dissect, probe, compare.

Public names stand in `__init__.pyi` and are imported when they are first used, so that
`import conceptlab` is quick.
"""

import warnings
from typing import Any

import lazy_loader

__version__ = "0.1.0"

#: Names of the release before, which go with the next.
RENAMED = {"Measured": "Agreement", "Rows": "DatasetPictures"}

_named, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    if name in RENAMED:
        said = f"conceptlab.{name} is conceptlab.{RENAMED[name]} from now on"
        warnings.warn(said, DeprecationWarning, stacklevel=2)
        name = RENAMED[name]
    return _named(name)
