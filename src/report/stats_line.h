/*
 * The line of statistics that the log gets every stats_period.
 */
#pragma once
#include "base/str.h"
#include "session/hub.h"

/* Of all pools in the period that has just ended. */
void stats_line_print(const struct hub *hub, struct strbuf *out);
