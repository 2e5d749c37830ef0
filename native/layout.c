/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The layout of the shared memories: how big they are, and whether another process has
 * the same one in mind.
 *
 * Owns what stands in front of each.  'major' is for a person who changes what a member
 * means; the hash sees by itself what moved.
 */
#include "device.h"

enum { MAGIC = 0x6c616767 /* "lagg" */, MAJOR = 1, MINOR = 0 };

/* FNV-1a, over sizes and places: no two layouts that differ share it but by chance. */
static uint32_t
layout_hash(void)
{
    static const size_t places[] = {sizeof(struct plans), sizeof(struct work),
        sizeof(struct worker_work), sizeof(struct port_work), sizeof(struct port_wish),
        sizeof(struct snapshot), sizeof(struct lagg_plan), sizeof(struct hold),
        sizeof(struct frame_buffer), sizeof(struct counter_bank),
        offsetof(struct plans, pool), offsetof(struct plans, wishes),
        offsetof(struct work, readers), offsetof(struct work, ports),
        offsetof(struct work, workers), offsetof(struct worker_work, hold),
        offsetof(struct worker_work, buffers), offsetof(struct port_work, xdp),
        offsetof(struct port_work, counts), offsetof(struct snapshot, plan)};
    uint32_t hash = 2166136261u;

    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        hash = (hash ^ (uint32_t)places[i]) * 16777619u;
    }
    return hash;
}

size_t
plans_bytes(void)
{
    return sizeof(struct plans);
}

size_t
work_bytes(uint32_t workers)
{
    return sizeof(struct work) + (workers + 1) * sizeof(struct worker_work);
}

void
layout_write(struct layout *layout, uint32_t workers)
{
    *layout = (struct layout){
        .magic = MAGIC,
        .major = MAJOR,
        .minor = MINOR,
        .hash = layout_hash(),
        .workers = workers,
    };
}

static bool
layout_is_ours(const struct layout *layout)
{
    return layout->magic == MAGIC && layout->major == MAJOR &&
           layout->hash == layout_hash() && layout->workers >= 1 &&
           layout->workers <= LAGG_WORKERS_MAX;
}

int
layout_check(const struct plans *plans, const struct work *work)
{
    bool ours = layout_is_ours(&plans->layout) && layout_is_ours(&work->layout) &&
                plans->layout.workers == work->layout.workers;

    return ours ? 0 : -EPROTO;
}

uint32_t
lagg_layout(void)
{
    return layout_hash();
}
