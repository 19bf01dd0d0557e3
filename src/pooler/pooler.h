/*
 * The root object: everything that runs, and what the program as a whole does
 * about signals, reloads and its end.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"
#include "conf/conf.h"
#include "net/inherited.h"

struct pooler;

struct pooler_options {
	const struct conf_assignment *assignments; /* of the command line; outlive the pooler */
	size_t nassignments;
	int verbose;                     /* added to the setting */
	bool quiet;                      /* nothing to stderr */
	struct inherited *inherited;     /* see struct listen_options; n of 0: none */
	bool take_all;
	/* Another process has taken over: whatever says that this is the one that runs is to be let go of. */
	void (*on_handed_over)(void *arg);
	void *arg;
};

#define POOLER_VERSION PACKAGE_VERSION

/* The PgBouncer whose console layouts are presented: monitors choose theirs by this number. */
#define POOLER_COMPATIBLE "1.25.2"
#define POOLER_VERSION_TEXT "PgBouncer " POOLER_COMPATIBLE " compatible (pgsluice " POOLER_VERSION ")"

/* conf_load(), and whether this program can do what is asked of it. */
struct conf *pooler_load(const char *file, const struct pooler_options *options, struct conf_problems *problems);

/* Loads the certificates and keys that a configuration names, and forgets them: what is wrong goes to `problems`. */
void pooler_check_tls(const struct conf *conf, struct conf_problems *problems);

/* Listens, and opens what pools want from the start. Takes over conf's reference. NULL with *error. */
struct pooler *pooler_new(struct conf *conf, const struct pooler_options *options, struct strbuf *error);

/* The inherited sockets are this process's alone now. Until then its end leaves them as they are. */
void pooler_own_sockets(struct pooler *p);

/* Until a signal or the console ends it. */
void pooler_run(struct pooler *p);
void pooler_free(struct pooler *p);

/* The log as the settings have it. False with *error. */
bool pooler_configure_log(const struct settings *s, const struct pooler_options *options, struct strbuf *error);
