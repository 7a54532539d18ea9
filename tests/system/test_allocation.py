"""Memory that a network's pass has freed is there for the next one, and settings of the environment are kept."""

import os
import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import torch
from selviz.system.allocation import keep_freed_memory

if sys.argv[1] == "keep":
    keep_freed_memory()

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [torch.ones(20 * 2**20 // 4) for _ in range(8)]
    del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults(), faults()
print(faults())
"""


def pages_taken(how: str, **settings: str) -> int:
    words = [sys.executable, "-c", PROGRAM, how]
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, **settings})
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's malloc")
def test_what_a_pass_freed_is_not_taken_from_the_system_again():
    plain = pages_taken("plain")  # 160 MB in pages of at least 4 KB
    assert pages_taken("keep") < plain / 3 and pages_taken("keep", MALLOC_TRIM_THRESHOLD_="1000000") > plain / 2
