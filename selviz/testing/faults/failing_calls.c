/* Lets the n-th call of one kind fail with a chosen error, where it concerns files below a folder; for LD_PRELOAD.
 *
 * fault_arm("open", 3, EIO, "/store") lets the third open of a file below /store fail, and every later one too if the
 * last argument says so; fault_disarm() gives how many calls were counted. `selviz.testing.faults.injection` drives it. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

#define FILES 65536
enum { NONE, OPEN, READ, WRITE, SYNC, MAP };
static atomic_int kind = NONE, count = 0, failed = 0;
static int at = 0, error_number = 0, lasting = 0;
static char below[PATH_MAX];
static atomic_char concerned[FILES];

void fault_arm(const char *name, int n, int error, const char *folder, int also_later) {
    kind = NONE;
    strncpy(below, folder, sizeof below - 1);
    count = failed = 0;
    at = n, error_number = error, lasting = also_later;
    kind = !strcmp(name, "open") ? OPEN : !strcmp(name, "read") ? READ : !strcmp(name, "write") ? WRITE
         : !strcmp(name, "sync") ? SYNC : !strcmp(name, "map") ? MAP : NONE;
}

int fault_disarm(void) { kind = NONE; return count; }
int fault_failed(void) { return failed; }

static int fails(int what) {
    if (kind != what) return 0;
    int number = ++count;
    if (number == at || (lasting && number > at)) { failed++; errno = error_number; return 1; }
    return 0;
}

static int is_below(const char *path) {
    size_t length = strlen(below);
    return length && path && !strncmp(path, below, length);
}

static int concerns(int fd) { return fd >= 0 && fd < FILES && concerned[fd]; }

static int opened(int fd, const char *path) {
    if (fd >= 0 && fd < FILES) concerned[fd] = (char)is_below(path);
    return fd;
}

#define REAL(type, name, ...) static type (*real)(__VA_ARGS__); if (!real) real = dlsym(RTLD_NEXT, name)
#define MODE mode_t mode = 0; if (flags & (O_CREAT | O_TMPFILE)) { va_list list; va_start(list, flags); mode = va_arg(list, int); va_end(list); }

int open(const char *path, int flags, ...) { MODE
    REAL(int, "open", const char *, int, ...);
    if (is_below(path) && fails(OPEN)) return -1;
    return opened(real(path, flags, mode), path); }
int open64(const char *path, int flags, ...) { MODE
    REAL(int, "open64", const char *, int, ...);
    if (is_below(path) && fails(OPEN)) return -1;
    return opened(real(path, flags, mode), path); }
int openat(int folder, const char *path, int flags, ...) { MODE
    REAL(int, "openat", int, const char *, int, ...);
    if (is_below(path) && fails(OPEN)) return -1;
    return opened(real(folder, path, flags, mode), path); }
int openat64(int folder, const char *path, int flags, ...) { MODE
    REAL(int, "openat64", int, const char *, int, ...);
    if (is_below(path) && fails(OPEN)) return -1;
    return opened(real(folder, path, flags, mode), path); }
DIR *opendir(const char *path) {
    REAL(DIR *, "opendir", const char *);
    return is_below(path) && fails(OPEN) ? NULL : real(path); }
int close(int fd) {
    REAL(int, "close", int);
    if (fd >= 0 && fd < FILES) concerned[fd] = 0;
    return real(fd); }
ssize_t read(int fd, void *buffer, size_t size) {
    REAL(ssize_t, "read", int, void *, size_t);
    return concerns(fd) && fails(READ) ? -1 : real(fd, buffer, size); }
ssize_t pread(int fd, void *buffer, size_t size, off_t offset) {
    REAL(ssize_t, "pread", int, void *, size_t, off_t);
    return concerns(fd) && fails(READ) ? -1 : real(fd, buffer, size, offset); }
ssize_t pread64(int fd, void *buffer, size_t size, off64_t offset) {
    REAL(ssize_t, "pread64", int, void *, size_t, off64_t);
    return concerns(fd) && fails(READ) ? -1 : real(fd, buffer, size, offset); }
ssize_t write(int fd, const void *buffer, size_t size) {
    REAL(ssize_t, "write", int, const void *, size_t);
    return concerns(fd) && fails(WRITE) ? -1 : real(fd, buffer, size); }
ssize_t pwrite(int fd, const void *buffer, size_t size, off_t offset) {
    REAL(ssize_t, "pwrite", int, const void *, size_t, off_t);
    return concerns(fd) && fails(WRITE) ? -1 : real(fd, buffer, size, offset); }
ssize_t pwrite64(int fd, const void *buffer, size_t size, off64_t offset) {
    REAL(ssize_t, "pwrite64", int, const void *, size_t, off64_t);
    return concerns(fd) && fails(WRITE) ? -1 : real(fd, buffer, size, offset); }
int fsync(int fd) {
    REAL(int, "fsync", int);
    return concerns(fd) && fails(SYNC) ? -1 : real(fd); }
int fdatasync(int fd) {
    REAL(int, "fdatasync", int);
    return concerns(fd) && fails(SYNC) ? -1 : real(fd); }
void *mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset) {
    REAL(void *, "mmap", void *, size_t, int, int, int, off_t);
    return concerns(fd) && fails(MAP) ? MAP_FAILED : real(address, length, protection, flags, fd, offset); }
void *mmap64(void *address, size_t length, int protection, int flags, int fd, off64_t offset) {
    REAL(void *, "mmap64", void *, size_t, int, int, int, off64_t);
    return concerns(fd) && fails(MAP) ? MAP_FAILED : real(address, length, protection, flags, fd, offset); }
