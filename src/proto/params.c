#include "proto/params.h"

#include <stdlib.h>

#include "base/hash.h"
#include "proto/out.h"

static const char *const always[] = {
	"client_encoding", "DateStyle", "TimeZone", "standard_conforming_strings", "application_name",
};

struct paramset {
	struct paramset_mark mark; /* first: paramset_mark() */
	UT_hash_handle hh;
	unsigned refs;
	struct atom *values[];   /* as many as there are tracked parameters */
};

struct params {
	size_t n;
	char *names[PARAMS_MAX];
	struct paramset *sets;
};

static bool add_name(struct params *p, struct slice name)
{
	if (name.n == 0 || params_find(p, name) >= 0)
		return true;
	if (p->n == PARAMS_MAX)
		return false;
	p->names[p->n] = strndup(name.p, name.n);
	if (p->names[p->n] == NULL)
		return false;
	p->n++;
	return true;
}

struct params *params_new(const char *extra, const char **error)
{
	struct params *p = calloc(1, sizeof(*p));
	struct slice rest = slice_of(extra), one;
	bool ok = p != NULL;

	*error = ok ? "more than 64 tracked parameters" : "out of memory";
	for (size_t i = 0; ok && i < sizeof(always) / sizeof(always[0]); i++)
		ok = add_name(p, slice_of(always[i]));
	while (ok && slice_split(&rest, ',', &one))
		ok = add_name(p, one);
	if (!ok) {
		params_free(p);
		p = NULL;
	}
	return p;
}

void params_free(struct params *p)
{
	if (p == NULL)
		return;
	for (size_t i = 0; i < p->n; i++)
		free(p->names[i]);
	free(p);
}

size_t params_count(const struct params *p)
{
	return p->n;
}

const char *params_name(const struct params *p, size_t i)
{
	return p->names[i];
}

int params_find(const struct params *p, struct slice name)
{
	for (size_t i = 0; i < p->n; i++)
		if (slice_is_nocase(name, p->names[i]))
			return (int)i;
	return -1;
}

/* The set with these values, whose references it takes over; NULL, and they are the caller's, when out of memory. */
static struct paramset *intern(struct params *p, struct atom **values)
{
	size_t size = p->n * sizeof(values[0]);
	struct paramset *s;

	HASH_FIND(hh, p->sets, values, size, s);
	if (s != NULL) {
		for (size_t i = 0; i < p->n; i++)
			atom_unref(&values[i]);
		return paramset_ref(s);
	}
	s = malloc(sizeof(*s) + size);
	if (s == NULL)
		return NULL;
	s->mark = (struct paramset_mark){0};
	s->refs = 1;
	memcpy(s->values, values, size);
	HASH_ADD_KEYPTR(hh, p->sets, s->values, size, s);
	if (HASH_HAS(s))
		return s;
	free(s);
	return NULL;
}

struct paramset *paramset_empty(struct params *p)
{
	struct atom *values[PARAMS_MAX] = {NULL};

	return intern(p, values);
}

struct paramset *paramset_ref(struct paramset *s)
{
	s->refs++;
	return s;
}

void paramset_unref(struct params *p, struct paramset **s)
{
	struct paramset *dead = *s;

	*s = NULL;
	if (dead == NULL || --dead->refs > 0)
		return;
	HASH_DEL(p->sets, dead);
	for (size_t i = 0; i < p->n; i++)
		atom_unref(&dead->values[i]);
	free(dead);
}

const struct atom *paramset_value(const struct paramset *s, size_t i)
{
	return s->values[i];
}

static void copy_values(const struct params *p, const struct paramset *s, struct atom **values)
{
	for (size_t i = 0; i < p->n; i++)
		values[i] = s->values[i] == NULL ? NULL : atom_ref(s->values[i]);
}

/* Makes the set of `values` the caller's, or drops their references. */
static bool exchange(struct params *p, struct paramset **s, struct atom **values)
{
	struct paramset *now = intern(p, values);

	if (now == NULL) {
		for (size_t i = 0; i < p->n; i++)
			atom_unref(&values[i]);
		return false;
	}
	paramset_unref(p, s);
	*s = now;
	return true;
}

bool paramset_change(struct params *p, struct paramset **s, size_t i, struct slice value)
{
	struct atom *values[PARAMS_MAX], *a = atom_get(value);

	if (a == NULL)
		return false;
	copy_values(p, *s, values);
	atom_unref(&values[i]);
	values[i] = a;
	return exchange(p, s, values);
}

bool paramset_unset(struct params *p, struct paramset **s, size_t i)
{
	struct atom *values[PARAMS_MAX];

	copy_values(p, *s, values);
	atom_unref(&values[i]);
	return exchange(p, s, values);
}

bool paramset_overlay(struct params *p, struct paramset **s, const struct paramset *over)
{
	struct atom *values[PARAMS_MAX];

	copy_values(p, *s, values);
	for (size_t i = 0; i < p->n; i++) {
		if (over->values[i] == NULL)
			continue;
		atom_unref(&values[i]);
		values[i] = atom_ref(over->values[i]);
	}
	return exchange(p, s, values);
}

static void out_bind(struct strbuf *out, const char *name, const struct atom *value)
{
	size_t mark = out_begin(out, 'B');

	out_string(out, "");
	out_string(out, "");
	out_u16(out, 0);
	out_u16(out, 2);
	out_u32(out, (uint32_t)strlen(name));
	strbuf_add_str(out, name);
	if (value == NULL) {
		/* set_config(name, NULL) goes back to the default. */
		out_u32(out, UINT32_MAX);
	} else {
		out_u32(out, value->len);
		strbuf_add(out, value->text, value->len);
	}
	out_u16(out, 0);
	out_end(out, mark);
}

static void out_execute(struct strbuf *out)
{
	size_t mark = out_begin(out, 'E');

	out_string(out, "");
	out_u32(out, 0);
	out_end(out, mark);
}

size_t params_out_switch(const struct params *p, const struct paramset *from, const struct paramset *to,
			 struct strbuf *out, uint8_t indices[PARAMS_MAX])
{
	size_t mark = out_begin(out, 'P'), n = 0;

	out_string(out, "");
	out_string(out, "SELECT pg_catalog.set_config($1, $2, false)");
	out_u16(out, 0);
	out_end(out, mark);
	for (size_t i = 0; i < p->n; i++) {
		if (from->values[i] == to->values[i])
			continue;
		out_bind(out, p->names[i], to->values[i]);
		out_execute(out);
		indices[n++] = (uint8_t)i;
	}
	out_simple(out, 'S');
	return n;
}

void params_out_status(const struct params *p, const struct paramset *s, struct strbuf *out)
{
	for (size_t i = 0; i < p->n; i++)
		if (s->values[i] != NULL)
			out_parameter_status(out, slice_of(p->names[i]), atom_slice(s->values[i]));
}
