/*
 * What settings do otherwise than in PgBouncer: differences.def is the one
 * place where each difference is written, --check and the page about coming
 * from PgBouncer are made from it.
 */
#pragma once
#include "conf/conf.h"

struct difference {
	enum setting_id id;
	const char *as_there;    /* told where it is not set, and what value makes it PgBouncer's; NULL: told where it is */
	const char *text;        /* sentences */
};

/* The i-th; NULL behind the last. */
const struct difference *difference_at(size_t i);

/*
 * A note for each setting of a file that was made for PgBouncer, one with a
 * section [pgbouncer], that is different or without effect, and for each that
 * is missing there and whose default is different. Of other files, nothing.
 * `file` is the one that was loaded.
 */
void differences_tell(const struct conf *conf, const char *file, struct conf_problems *problems);
