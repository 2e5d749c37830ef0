/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The library's syscall(2) under another name, for programs that put theirs before it.
 */
#ifndef LAGG_CALLS_H
#define LAGG_CALLS_H

#include <dlfcn.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { CALL_ARGUMENTS = 6 };

/* What follows the number; as many as any call has, whatever was given. */
#define CALL_COLLECT(arguments, number)                                                \
    do {                                                                               \
        va_list list_;                                                                 \
        va_start(list_, number);                                                       \
        for (int i_ = 0; i_ < CALL_ARGUMENTS; i_++) {                                  \
            (arguments)[i_] = va_arg(list_, long);                                     \
        }                                                                              \
        va_end(list_);                                                                 \
    } while (0)

/* Makes it.  -1, and errno. */
static inline long
call_kernel(long number, const long arguments[CALL_ARGUMENTS])
{
    static long (*library)(long, ...);

    if (library == NULL) {
        *(void **)&library = dlsym(RTLD_NEXT, "syscall");
    }
    return library(number, arguments[0], arguments[1], arguments[2], arguments[3],
        arguments[4], arguments[5]);
}

#endif
