/*
 * The end of each stats_period: averages are made, and a line of the log.
 */
#pragma once
#include "pooler/state.h"

/* The settings start the first timer, see configure_apply(). */
void periods_init(struct pooler *p);
void periods_stop(struct pooler *p);
