/*
 * The console's part in a takeover (process/takeover.h): the commands that a
 * process gives which is to take the place of this one.
 */
#pragma once
#include <stdbool.h>

#include "admin/commands.h"

/* TAKEOVER and TAKEOVER DONE: for the owner over the Unix socket alone. As command_run(). */
bool takeover_command(const struct request *rq);
