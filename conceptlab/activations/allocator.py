"""Keeping freed memory: large tensors otherwise pay page faults every time they are allocated."""

import ctypes
import logging
import platform

log = logging.getLogger(__name__)

# <malloc.h> of glibc
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
PAD = 64 << 20


def keep_freed_memory() -> bool:
    """Have glibc keep memory that is freed for the next tensor, instead of giving it back.

    A forward pass allocates and frees large tensors over and over; each time, the system hands out
    zeroed pages one fault at a time, which can cost as much as the computation. The command line
    calls this. A library's host has to opt in, since the setting holds for the whole process,
    which then keeps its peak memory. It does nothing where the C library is another.

    Returns:
        Whether the setting was made.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    settings = ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, PAD))
    made = all([mallopt(name, value) == 1 for name, value in settings])
    log.debug("freed memory is %s", "kept" if made else "given back: mallopt refused")
    return made
