"""Which blocks of which files this process has found to match their checksums.

A file is known by its place on the disk, its size and the moment of its last change, so that what
is changed later is checked again.
"""

import os
import threading
from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

State = tuple[int, int, int, int]
MOST = 1024  # files that are remembered

_lock = threading.Lock()
_known: "OrderedDict[State, NDArray[np.bool_]]" = OrderedDict()


def verified(handle: int, blocks: int) -> NDArray[np.bool_]:
    """(B,) which blocks of an open file are known to be whole; for the caller to add to.

    Args:
        handle: of the file.
        blocks: B.
    """
    state = os.fstat(handle)
    key = (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns)
    with _lock:
        marks = _known.setdefault(key, np.zeros(blocks, dtype=bool))
        _known.move_to_end(key)
        while len(_known) > MOST:
            _known.popitem(last=False)
    return marks
