/*
 * The ways in which the program ends: as the console asks, as SIGTERM does, and by another process that takes over.
 */
#pragma once
#include "pooler/state.h"

/* Of struct hub: something that a shutdown or the console waits for may have happened. */
void endings_on_quiet(void *arg);

/* Of struct admin_actions; `arg` is the pooler. */
void endings_shut_down(void *arg, enum admin_shutdown how);
void endings_hand_over(void *arg, uint32_t pid);

/* What SIGTERM asks for is a setting. */
void endings_terminate(struct pooler *p);
