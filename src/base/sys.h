/*
 * Small things the operating system is asked for.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

/*
 * Bytes nobody can guess, the kernel's, which is asked for many at once. Ends the program if the kernel has none. A
 * process made by fork() asks anew.
 */
void sys_random(void *p, size_t n);

/* Wipes memory that held a secret; not optimised away. */
void sys_wipe(void *p, size_t n);

/*
 * Memory of zeros, for free(); NULL when there is none. For what comes and goes often: glibc's calloc() does not take
 * what free() has just got back.
 */
void *sys_zeroed(size_t n);

/* Wipes and frees a text, and forgets it; NULL is none. */
void sys_wipe_text(char **text);

/*
 * Whether this process leaves core dumps, and others of the same user may read its memory. Not inherited through
 * exec(); a change of user may have the kernel decide anew.
 */
void sys_allow_core_dumps(bool allowed);

/* Raises the soft limit of open files towards `wanted`; returns the limit in force. */
size_t sys_raise_nofile(size_t wanted);

bool sys_set_nonblocking(int fd);

/* What the process takes, in bytes; all 0 when the system does not tell. */
struct sys_memory {
	size_t size;             /* its address space */
	size_t resident;         /* of that, in memory */
};
struct sys_memory sys_memory(void);
