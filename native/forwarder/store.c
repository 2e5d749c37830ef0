/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The store: descriptors by name, kept open for whoever comes next.
 *
 * Owns them.  Knows not what they are.  Its index is a table of 2^n places, at most
 * half of them taken, where a name is at its hash's place or behind it without a gap.
 */
#include "forwarder.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static_assert((STORE_INDEX & (STORE_INDEX - 1)) == 0, "a place is a mask");
static_assert((int)LAGG_NAMES_MAX < (int)UINT16_MAX, "an entry fits the index");

enum { MASK = STORE_INDEX - 1 };

static bool
name_byte_sound(char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9') ||
           byte == '/' || byte == '.' || byte == '-';
}

bool
store_name_sound(const char name[LAGG_NAME_BYTES])
{
    uint32_t length = 0;

    while (length < LAGG_NAME_BYTES && name_byte_sound(name[length])) {
        length++;
    }
    for (uint32_t i = length; i < LAGG_NAME_BYTES; i++) {
        if (name[i] != '\0') {
            return false;
        }
    }
    return length > 0 && length < LAGG_NAME_BYTES;
}

/* FNV-1a. */
static uint32_t
place_of(const char *name)
{
    uint32_t hash = 2166136261u;

    for (; *name != '\0'; name++) {
        hash = (hash ^ (uint8_t)*name) * 16777619u;
    }
    return (hash ^ hash >> 16) & MASK;
}

/* Where the name is in the index, or the free place where it would be. */
static uint32_t
place_find(const struct store *store, const char *name)
{
    uint32_t place = place_of(name);

    while (store->index[place] != 0 &&
           strcmp(store->entries[store->index[place] - 1].name, name) != 0) {
        place = (place + 1) & MASK;
    }
    return place;
}

int
store_put(struct store *store, const char *name, int fd)
{
    uint32_t place = place_find(store, name);
    struct stored *entry;

    if (store->index[place] != 0) {
        entry = &store->entries[store->index[place] - 1];
        close(entry->fd);
    } else if (store->count == LAGG_NAMES_MAX) {
        return -ENOSPC;
    } else {
        entry = &store->entries[store->count++];
        memset(entry->name, 0, sizeof entry->name);
        memcpy(entry->name, name, strnlen(name, sizeof entry->name - 1));
        store->index[place] = (uint16_t)store->count;
    }
    entry->fd = fd;
    store->generation++;
    return 0;
}

/* Moves up those behind, which would not be found past a gap. */
static void
place_free(struct store *store, uint32_t gap)
{
    uint32_t place = (gap + 1) & MASK;

    for (; store->index[place] != 0; place = (place + 1) & MASK) {
        uint32_t home = place_of(store->entries[store->index[place] - 1].name);

        if (((place - home) & MASK) >= ((place - gap) & MASK)) {
            store->index[gap] = store->index[place];
            gap = place;
        }
    }
    store->index[gap] = 0;
}

int
store_del(struct store *store, const char *name)
{
    uint32_t place = place_find(store, name);
    uint16_t number = store->index[place];
    const struct stored *last;

    if (number == 0) {
        return -ENOENT;
    }
    last = &store->entries[store->count - 1];
    close(store->entries[number - 1].fd);
    place_free(store, place);
    if (number != store->count) {
        store->index[place_find(store, last->name)] = number;
        store->entries[number - 1] = *last;
    }
    store->count--;
    store->generation++;
    return 0;
}

int
store_get(const struct store *store, const char *name)
{
    uint32_t place = place_find(store, name);

    return store->index[place] != 0 ? store->entries[store->index[place] - 1].fd : -1;
}

int
store_copy(const struct store *store, const char *name)
{
    int fd = store_get(store, name);

    return fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;
}

void
store_clear(struct store *store)
{
    for (uint32_t i = 0; i < store->count; i++) {
        close(store->entries[i].fd);
    }
    memset(store->index, 0, sizeof store->index);
    store->count = 0;
    store->generation++;
}
