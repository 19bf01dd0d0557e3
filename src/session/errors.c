#include "session/errors.h"

#include <string.h>

#include "base/str.h"

/* As much as fits; bytes 10xxxxxx go on with a character of UTF-8, which is not cut in two. */
static void copy(char *to, size_t size, const char *from)
{
	size_t n = strnlen(from, size);

	if (n == size)
		for (n = size - 1; n > size - 4 && ((unsigned char)from[n] & 0xc0) == 0x80;)
			n--;
	memcpy(to, from, n);
	to[n] = '\0';
}

/* A group as it would be kept, met once. */
static struct error_group group_of(const struct error_seen *seen, uint64_t now)
{
	struct error_group g = {.reason = seen->reason, .count = 1, .first_at = now, .last_at = now};

	copy(g.sqlstate, sizeof(g.sqlstate), seen->sqlstate);
	copy(g.database, sizeof(g.database), seen->database);
	copy(g.user, sizeof(g.user), seen->user);
	copy(g.message, sizeof(g.message), seen->message);
	return g;
}

static bool is_of(const struct error_group *g, const char *reason)
{
	return strcmp(g->reason, reason) == 0;
}

static struct error_group *find(struct errors *e, const struct error_group *like)
{
	for (struct error_group *g = e->groups; g < e->groups + e->n; g++)
		if (!g->is_rest && is_of(g, like->reason) && strcmp(g->sqlstate, like->sqlstate) == 0 &&
		    strcmp(g->database, like->database) == 0 && strcmp(g->user, like->user) == 0)
			return g;
	return NULL;
}

static struct error_group *find_rest(struct errors *e, const char *reason)
{
	for (struct error_group *g = e->groups; g < e->groups + e->n; g++)
		if (g->is_rest && is_of(g, reason))
			return g;
	return NULL;
}

/* How many groups a reason has, the rest included or not. */
static unsigned count(const struct errors *e, const char *reason, bool with_rest)
{
	unsigned n = 0;

	for (const struct error_group *g = e->groups; g < e->groups + e->n; g++)
		n += is_of(g, reason) && (with_rest || !g->is_rest);
	return n;
}

static struct error_group *oldest_of(struct errors *e, const char *reason, bool with_rest)
{
	struct error_group *oldest = NULL;

	for (struct error_group *g = e->groups; g < e->groups + e->n; g++)
		if (is_of(g, reason) && (with_rest || !g->is_rest) && (oldest == NULL || g->last_at < oldest->last_at))
			oldest = g;
	return oldest;
}

static const char *most_frequent_reason(const struct errors *e)
{
	const char *reason = NULL;
	unsigned most = 0;

	for (const struct error_group *g = e->groups; g < e->groups + e->n; g++) {
		unsigned n = count(e, g->reason, true);

		if (n > most) {
			most = n;
			reason = g->reason;
		}
	}
	return reason;
}

/* The place for a new group; the one that was there is lost. */
static struct error_group *take_place(struct errors *e)
{
	if (e->n < ERRORS_MAX)
		return &e->groups[e->n++];
	return oldest_of(e, most_frequent_reason(e), true);
}

static void add(struct error_group *g, const struct error_group *more)
{
	g->count += more->count;
	if (more->first_at < g->first_at)
		g->first_at = more->first_at;
	if (more->last_at < g->last_at)
		return;
	g->last_at = more->last_at;
	memcpy(g->sqlstate, more->sqlstate, sizeof(g->sqlstate));
	memcpy(g->message, more->message, sizeof(g->message));
}

static void add_to_rest(struct errors *e, struct error_group group)
{
	struct error_group *rest = find_rest(e, group.reason);

	if (rest != NULL) {
		add(rest, &group);
		return;
	}
	group.is_rest = true;
	*take_place(e) = group;
}

void errors_note(struct errors *e, const struct error_seen *seen, uint64_t now)
{
	const struct error_group group = group_of(seen, now);
	struct error_group *g = find(e, &group), former;

	if (g != NULL) {
		add(g, &group);
		return;
	}
	if (count(e, seen->reason, false) < ERRORS_NAMES_PER_REASON) {
		*take_place(e) = group;
		return;
	}
	g = oldest_of(e, seen->reason, false);
	if (now - g->last_at < ERRORS_STALE_US) {
		add_to_rest(e, group);
		return;
	}
	former = *g;
	*g = group;
	add_to_rest(e, former);
}
