/*
 * Session parameters that follow a client from server to server: which ones,
 * and their values.
 *
 * A set of values is interned: it exists once however many clients and
 * servers have it, and is never changed, only exchanged for another. So
 * whether a server already has what a client expects is one comparison of
 * pointers.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/atom.h"
#include "base/str.h"

/* Which parameters are tracked; fixed while the program runs. */
struct params;

/* Values for each of them; one may be unset, which stands for the server's own default. */
struct paramset;

/* What each set keeps for whoever counts by one of its values (pool/applications): all zero in a new set. */
struct paramset_mark {
	uint32_t generation;
	uint16_t place, misses;
};

/* A set begins with it. */
static inline struct paramset_mark *paramset_mark(struct paramset *s)
{
	return (struct paramset_mark *)s;
}

#define PARAMS_MAX 64

/* The ones PgBouncer always tracks, and a comma list of more. NULL: *error says why. */
struct params *params_new(const char *extra, const char **error);
void params_free(struct params *p);

size_t params_count(const struct params *p);
const char *params_name(const struct params *p, size_t i);

/* The index of a tracked name (ASCII case ignored, as PostgreSQL does), or -1. */
int params_find(const struct params *p, struct slice name);

/* The set in which nothing is set, with a reference. */
struct paramset *paramset_empty(struct params *p);
struct paramset *paramset_ref(struct paramset *s);
void paramset_unref(struct params *p, struct paramset **s);

/* The value of parameter i, NULL when unset. Lives as long as the set. */
const struct atom *paramset_value(const struct paramset *s, size_t i);

/* Exchanges *s for the set that differs in parameter i. False, and *s unchanged, when out of memory. */
bool paramset_change(struct params *p, struct paramset **s, size_t i, struct slice value);

/* The same for the set in which parameter i is unset. */
bool paramset_unset(struct params *p, struct paramset **s, size_t i);

/* Exchanges *s for the one with all values that `over` has, and its own where `over` has none. */
bool paramset_overlay(struct params *p, struct paramset **s, const struct paramset *over);

/*
 * The messages that take a session from one set to another: one Parse of
 * set_config(), a Bind and Execute for each difference (client_encoding
 * first, since it says how the rest is read), one Sync. The server answers
 * each Execute with a DataRow that holds the value in its own spelling.
 * indices[] receives which parameter each row is for; returns how many.
 *
 * Values travel as parameters of Bind: no quoting, whatever is in them.
 */
size_t params_out_switch(const struct params *p, const struct paramset *from, const struct paramset *to,
			 struct strbuf *out, uint8_t indices[PARAMS_MAX]);

/* ParameterStatus for every value that is set. */
void params_out_status(const struct params *p, const struct paramset *s, struct strbuf *out);
