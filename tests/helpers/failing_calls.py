"""Make the n-th system call on a folder's files fail: `outcomes(folder, scenario)` runs a scenario in a process of its
own.

A library that is loaded before libc's own wraps what Python and DuckDB call. In the process,
`failing_calls.every(operation, expected, calls)` repeats an operation with the first call failing, then the second,
and so on, until one goes through without a fault.
"""

import ctypes
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { OPEN, READ, WRITE, FORK, MMAP, THREAD, KINDS };
static atomic_long seen[KINDS], fail_at[KINDS];
static int error_of[KINDS];
static atomic_int fired, persistent;
static _Atomic unsigned char ours[65536];

void fault_arm(int kind, long n, int error, int lasting) {
  for (int k = 0; k < KINDS; k++) { seen[k] = 0; fail_at[k] = 0; }
  fired = 0; persistent = lasting; error_of[kind] = error; fail_at[kind] = n;
}
void fault_disarm(void) { for (int k = 0; k < KINDS; k++) fail_at[k] = 0; }
int fault_fired(void) { return fired; }

static int fails(int kind) {
  if (!fail_at[kind]) return 0;
  long now = ++seen[kind];
  if (now == fail_at[kind] || (persistent && now > fail_at[kind])) { fired = 1; errno = error_of[kind]; return 1; }
  return 0;
}
static int watched(const char *path) {
  const char *folder = getenv("FAULT_FOLDER");
  return folder && path && strstr(path, folder) != NULL;
}
static int opened(int handle, const char *path) {
  if (handle >= 0 && handle < 65536) ours[handle] = watched(path);
  return handle;
}
static int mine(int handle) { return handle >= 0 && handle < 65536 && ours[handle]; }
#define REAL(name) ((typeof(&name))dlsym(RTLD_NEXT, #name))
#define OPENER(name) \
  int name(const char *path, int flags, ...) { \
    va_list more; va_start(more, flags); mode_t mode = va_arg(more, mode_t); va_end(more); \
    if (watched(path) && fails(OPEN)) return -1; \
    return opened(((int (*)(const char *, int, ...))dlsym(RTLD_NEXT, #name))(path, flags, mode), path); }
OPENER(open)
OPENER(open64)
#define OPENER_AT(name) \
  int name(int at, const char *path, int flags, ...) { \
    va_list more; va_start(more, flags); mode_t mode = va_arg(more, mode_t); va_end(more); \
    if (watched(path) && fails(OPEN)) return -1; \
    return opened(((int (*)(int, const char *, int, ...))dlsym(RTLD_NEXT, #name))(at, path, flags, mode), path); }
OPENER_AT(openat)
OPENER_AT(openat64)
int close(int handle) { if (handle >= 0 && handle < 65536) ours[handle] = 0; return REAL(close)(handle); }
ssize_t read(int h, void *b, size_t n) { return mine(h) && fails(READ) ? -1 : REAL(read)(h, b, n); }
ssize_t pread(int h, void *b, size_t n, off_t o) { return mine(h) && fails(READ) ? -1 : REAL(pread)(h, b, n, o); }
ssize_t pread64(int h, void *b, size_t n, off64_t o) { return mine(h) && fails(READ) ? -1 : REAL(pread64)(h, b, n, o); }
ssize_t write(int h, const void *b, size_t n) { return mine(h) && fails(WRITE) ? -1 : REAL(write)(h, b, n); }
ssize_t pwrite(int h, const void *b, size_t n, off_t o) { return mine(h) && fails(WRITE) ? -1 : REAL(pwrite)(h, b, n,
o); } ssize_t pwrite64(int h, const void *b, size_t n, off64_t o) {
  return mine(h) && fails(WRITE) ? -1 : REAL(pwrite64)(h, b, n, o); }
int fsync(int h) { return mine(h) && fails(WRITE) ? -1 : REAL(fsync)(h); }
int fdatasync(int h) { return mine(h) && fails(WRITE) ? -1 : REAL(fdatasync)(h); }
int ftruncate64(int h, off64_t n) { return mine(h) && fails(WRITE) ? -1 : REAL(ftruncate64)(h, n); }
pid_t fork(void) { return fails(FORK) ? -1 : REAL(fork)(); }
void *mmap(void *a, size_t n, int p, int f, int h, off_t o) {
  return fails(MMAP) ? MAP_FAILED : REAL(mmap)(a, n, p, f, h, o); }
int pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*f)(void *), void *x) {
  return fails(THREAD) ? error_of[THREAD] : REAL(pthread_create)(t, a, f, x); }
"""
KINDS = {"open": 0, "read": 1, "write": 2, "fork": 3, "mmap": 4, "thread": 5}
MAX_CALLS = 2000  # of one kind in one operation
ROOT = Path(__file__).resolve().parents[2]


def library(folder: Path) -> Path:
    """Build the wrapping library in `folder`; without a C compiler the test is skipped."""
    if (compiler := shutil.which("cc") or shutil.which("gcc")) is None or sys.platform != "linux":
        pytest.skip("needs Linux and a C compiler")
    source, built = folder / "failing_calls.c", folder / "failing_calls.so"
    source.write_text(SOURCE)
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-w", "-o", str(built), str(source), "-ldl"], check=True)
    return built


def outcomes(library: Path, folder: Path, scenario: str) -> dict[str, object]:
    """Run `scenario` (Python, with `folder`) under the library; return what it printed as its last line, JSON."""
    code = f"from pathlib import Path\nfolder = Path({str(folder)!r})\n{scenario}"
    variables = {**os.environ, "LD_PRELOAD": str(library), "FAULT_FOLDER": str(folder), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=variables)
    assert done.returncode == 0, (done.returncode, done.stderr[-3000:])
    return json.loads(done.stdout.splitlines()[-1])


def every(
    operation: Callable[[], object], calls: Mapping[str, tuple[int, ...]], lasting: bool = False
) -> dict[str, object]:
    """Let each call of each kind fail with each of its errors; {"tries", "refused", "wrong": [a sentence each]}.

    `operation` returns something to compare. Wrong is: an exception that is no SelvizError, a word of damage, another
    result, a next try that fails, and handles that stay open. With `lasting`, all later calls of the kind fail too.
    """
    from selviz.errors import SelvizError

    faults = ctypes.CDLL(None)
    expected, wrong, tries, refused = operation(), [], 0, 0
    operation()
    handles = _handles()
    for kind, errors in calls.items():
        for error in errors:
            for number in range(1, MAX_CALLS):
                label = f"{kind} {number} fails with {os.strerror(error)}"
                faults.fault_arm(KINDS[kind], ctypes.c_long(number), error, int(lasting))
                try:
                    result = operation()
                    if result != expected:
                        wrong.append(f"{label}: another result, {str(result)[:200]}")
                except SelvizError as problem:
                    refused += 1
                    if "damaged" in str(problem) or "\n" in str(problem):
                        wrong.append(f"{label}: {problem}")
                except BaseException as problem:
                    wrong.append(f"{label}: {problem!r}")
                finally:
                    faults.fault_disarm()
                if not faults.fault_fired():
                    break
                tries += 1
                try:
                    if (again := operation()) != expected:
                        wrong.append(f"{label}: the next try has another result, {str(again)[:200]}")
                except BaseException as problem:
                    wrong.append(f"{label}: the next try fails, {problem!r}")
                if _handles() > handles:
                    wrong.append(f"{label}: {_handles() - handles} handles stay open")
                    handles = _handles()
    return {"tries": tries, "refused": refused, "wrong": wrong[:20]}


def _handles() -> int:
    import gc

    gc.collect()
    return len(os.listdir("/proc/self/fd"))
