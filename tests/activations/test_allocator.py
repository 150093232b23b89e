import platform
import subprocess
import sys

import pytest

SCRIPT = """
import resource, numpy as np
from conceptlab.activations.allocator import keep_freed_memory
assert {keep} == 0 or keep_freed_memory()
for _ in range(3):
    np.ones(4_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    np.ones(4_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_freed_memory_is_used_again_without_page_faults():
    def faults(keep):
        script = SCRIPT.format(keep=keep)
        run = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True
        )
        return int(run.stdout)

    assert faults(1) < 0.1 * faults(0) + 100


def test_elsewhere_it_does_nothing(monkeypatch):
    from conceptlab.activations.allocator import keep_freed_memory

    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert keep_freed_memory() is False
