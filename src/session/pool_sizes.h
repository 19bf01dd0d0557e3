/*
 * pool_size_mode = adaptive: how many servers clients may hold at a time is
 * decided anew every ADAPTIVE_TICK_US, see pool/adaptive.h, between
 * min_pool_size, at least 1, and pool_size. What a host has for this pooler, by
 * the capacity check, is not exceeded either, together with what other pools
 * have there. Servers that nobody may hold rest and end by server_idle_timeout.
 * Of pools that are idle nothing is decided any more once it would stay as it is.
 */
#pragma once
#include "session/hub.h"

/* A pool has been made, or its settings have changed. */
void pool_sizes_note(struct hub *hub, struct pool *pool);

/* No more decisions. */
void pool_sizes_stop(struct hub *hub);
