"""How concepts are encoded inside vision networks: extract, dissect, probe, compare.

Public names stand in `__init__.pyi` and are imported when they are first used, so that
`import conceptlab` is quick.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
