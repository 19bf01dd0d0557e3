/*
 * The line of statistics that the log gets every stats_period, and the one
 * about the present that the service manager gets.
 */
#pragma once
#include "base/str.h"
#include "session/hub.h"

/* Of all pools in the period that has just ended. */
void stats_line_print(const struct hub *hub, struct strbuf *out);

/* "12 clients, 1 waiting, 5 servers, 3 in use", and the above. */
void status_line_print(const struct hub *hub, struct strbuf *out);
