/*
 * What each signal asks for, as with PgBouncer.
 */
#pragma once
#include "pooler/state.h"

void signals_watch(struct pooler *p);
void signals_unwatch(struct pooler *p);
