/*
 * `pgsluice top`: the pools in a terminal, by what the console of a pooler says.
 *
 * A client program: it knows libpq and ncurses, and nothing of the pooler it
 * is linked with; the peer may as well be PgBouncer.
 */
#pragma once

/* argv[0] is the subcommand's name. Returns the exit status: 0, or 1 with the reason told on standard error. */
int top_main(int argc, char **argv, const char *version);
