/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Programs at tcx's egress, against the real kernel: none on a link that has none, and
 * none to be asked for on one that is not there.  One that is there is attached by
 * tests/netns/test_egress.py.
 */
#include "namespace.h"

static bool
has_no_tcx(int answer)
{
    return answer == -EINVAL || answer == -EPERM || answer == -ENOSYS;
}

static void
a_link_without_programs_has_none(void)
{
    int answer = lagg_tcx_egress(if_nametoindex("lo"));

    CHECK(answer == 0 || has_no_tcx(answer));
}

static void
a_link_that_is_not_there_has_none_to_be_asked_for(void)
{
    int answer = lagg_tcx_egress(UINT32_MAX);

    CHECK(answer == -ENODEV || has_no_tcx(answer));
}

int
main(void)
{
    namespace_enter();
    a_link_without_programs_has_none();
    a_link_that_is_not_there_has_none_to_be_asked_for();
    return check_report();
}
