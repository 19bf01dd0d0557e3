/*
 * What runs, as the files of this room share it.
 */
#pragma once
#include <ev.h>

#include "admin/console.h"
#include "http/server.h"
#include "pooler/pooler.h"
#include "process/notify.h"
#include "session/hub.h"

struct pooler {
	struct hub hub;
	struct pooler_options options;
	struct console console;
	char *pam_confdir;               /* auth_pam_confdir at start; the helper keeps the pointer */
	struct admin_actions actions;
	struct http *http;               /* NULL: none */
	struct http_actions http_actions;
	ev_signal on_hup, on_int, on_term, on_quit, on_usr1, on_usr2;
	ev_timer stats, latency, log;
	struct notify notify;
};
