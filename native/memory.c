/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory: a process's own, and what two processes map and neither can make smaller.
 *
 * Owns how it is made.  Shared memory is sealed against growing and shrinking, so that
 * no other process can turn an access of ours into a SIGBUS.  Knows not what lies in
 * it.
 */
#define _GNU_SOURCE /* memfd_create */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int
memory_make(const char *name, size_t bytes)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    int error;

    if (fd < 0) {
        return -errno;
    }
    if (ftruncate(fd, (off_t)bytes) == 0 &&
        fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) == 0) {
        return fd;
    }
    error = -errno;
    close(fd);
    return error;
}

bool
memory_is_sound(int fd, size_t bytes)
{
    struct stat stat;
    int seals = fcntl(fd, F_GET_SEALS);

    return seals >= 0 && (seals & F_SEAL_SHRINK) && fstat(fd, &stat) == 0 &&
           (size_t)stat.st_size >= bytes;
}

void *
memory_map(int fd, size_t bytes, bool writable)
{
    int rights = writable ? PROT_READ | PROT_WRITE : PROT_READ;
    void *memory = mmap(NULL, bytes, rights, MAP_SHARED, fd, 0);

    return memory == MAP_FAILED ? NULL : memory;
}

void
memory_unmap(void *memory, size_t bytes)
{
    if (memory != NULL) {
        munmap(memory, bytes);
    }
}

void *
memory_allocate(size_t size, size_t zeroed)
{
    size_t rounded = (size + CACHE_LINE_BYTES - 1) & ~(size_t)(CACHE_LINE_BYTES - 1);
    void *memory = aligned_alloc(CACHE_LINE_BYTES, rounded);

    if (memory != NULL) {
        memset(memory, 0, zeroed);
    }
    return memory;
}
