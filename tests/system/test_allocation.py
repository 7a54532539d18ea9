"""Memory that a network's pass has freed is there for the next one, and settings of the environment are kept."""

import os
import platform
import subprocess
import sys

import pytest

PAGES_A_PASS = 8 * 20 * 2**20 // 4096  # of 4 KB, in the eight blocks
PROGRAM = """
import resource
import torch
from selviz.system.allocation import keep_freed_memory

keep_freed_memory()

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [torch.ones(20 * 2**20 // 4) for _ in range(8)]
    del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print([faults() for _ in range(10)][-1])  # where blocks end up settles in the first few passes
"""


def pages_taken(**settings: str) -> int:
    words = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, **settings})
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's malloc")
def test_what_a_pass_freed_is_not_taken_from_the_system_again():
    assert pages_taken() < PAGES_A_PASS / 10


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's malloc")
def test_a_setting_of_the_environment_is_kept():
    assert pages_taken(MALLOC_TRIM_THRESHOLD_="1000000") > PAGES_A_PASS / 2
