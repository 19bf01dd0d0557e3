/*
 * Copies of where a connection goes to, for those who connect again and again
 * long after they were told.
 */
#pragma once
#include <stdbool.h>

#include "control/connection.h"

/* Whether a connection to the one is as good as one to the other. */
bool connection_target_eq(const struct connection_target *a, const struct connection_target *b);

/* A copy with texts of its own, to be wiped; false when out of memory, *copy is untouched then. */
bool connection_target_copy(struct connection_target *copy, const struct connection_target *target);

/* Wipes and frees the texts of a copy, and zeroes it. One that is all zero is allowed. */
void connection_target_wipe(struct connection_target *copy);
