/*
 * pool_idle_timeout: pools that nobody uses any more are forgotten, and so are
 * users of whom nothing else is left.
 *
 * Whatever makes one unused arms its deadline; what it has become by then is
 * looked at when that is due. So being used again costs nothing.
 */
#pragma once
#include "pool/registry.h"

/* It has been made, or the settings have changed. */
void idle_pool_set_up(struct pool *pool);
void idle_user_set_up(struct user *user);

/* A client or a server has left it; it may be the last one. */
void idle_pool_note(struct pool *pool);

/* A client or a pool has left it. */
void idle_user_note(struct user *user);
