#include "control/auth_query_source.h"

#include <stdlib.h>
#include <string.h>

static bool is_same_text(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

bool auth_query_source_eq(const struct auth_query_source *a, const struct auth_query_source *b)
{
	if (a->nhosts != b->nhosts || a->secret_type != b->secret_type || strcmp(a->dbname, b->dbname) != 0 ||
	    strcmp(a->user, b->user) != 0 || !is_same_text(a->secret, b->secret) || strcmp(a->query, b->query) != 0)
		return false;
	for (size_t i = 0; i < a->nhosts; i++)
		if (a->hosts[i].port != b->hosts[i].port || strcmp(a->hosts[i].host, b->hosts[i].host) != 0)
			return false;
	return true;
}

static size_t room_for_text(const char *text)
{
	return text == NULL ? 0 : strlen(text) + 1;
}

static size_t room_for(const struct auth_query_source *is)
{
	size_t n = is->nhosts * sizeof(*is->hosts) + room_for_text(is->dbname) + room_for_text(is->user) +
		   room_for_text(is->secret) + room_for_text(is->query);

	for (size_t i = 0; i < is->nhosts; i++)
		n += room_for_text(is->hosts[i].host);
	return n;
}

static const char *copy_text(char **room, const char *text)
{
	size_t n = room_for_text(text);
	char *copy = *room;

	if (text == NULL)
		return NULL;
	memcpy(copy, text, n);
	*room += n;
	return copy;
}

void *auth_query_source_copy(struct auth_query_source *copy, const struct auth_query_source *source, size_t *n)
{
	size_t nbytes = room_for(source);
	void *start = malloc(nbytes);
	struct conf_host *hosts = start;
	char *room;

	if (start == NULL)
		return NULL;
	room = (char *)start + source->nhosts * sizeof(*hosts);
	for (size_t i = 0; i < source->nhosts; i++)
		hosts[i] = (struct conf_host){copy_text(&room, source->hosts[i].host), source->hosts[i].port};
	*copy = (struct auth_query_source){
		.hosts = hosts,
		.nhosts = source->nhosts,
		.dbname = copy_text(&room, source->dbname),
		.user = copy_text(&room, source->user),
		.secret = copy_text(&room, source->secret),
		.secret_type = source->secret_type,
		.query = copy_text(&room, source->query),
	};
	*n = nbytes;
	return start;
}
