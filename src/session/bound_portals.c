#include "session/bound_portals.h"

#include <stdlib.h>
#include <string.h>

void bound_portals_init(struct bound_portals *b, struct stmts *all)
{
	*b = (struct bound_portals){.all = all};
	TAILQ_INIT(&b->list);
}

struct bound_portal *bound_portals_find(const struct bound_portals *b, struct slice name)
{
	struct bound_portal *p;

	TAILQ_FOREACH(p, &b->list, link)
		if (slice_eq(atom_slice(p->name), name))
			return p;
	return NULL;
}

void bound_portal_clear(struct bound_portals *b, struct bound_portal *p)
{
	stmt_unref(b->all, &p->stmt);
	atom_unref(&p->clients);
	p->alias = NULL;
	p->is_change = false;
	p->at = 0;
	p->shift = 0;
}

void bound_portals_drop(struct bound_portals *b, struct bound_portal *p)
{
	TAILQ_REMOVE(&b->list, p, link);
	b->n--;
	bound_portal_clear(b, p);
	stmt_unref(b->all, &p->command);
	atom_unref(&p->name);
	free(p);
}

void bound_portals_drop_all(struct bound_portals *b)
{
	while (b->n > 0)
		bound_portals_drop(b, TAILQ_FIRST(&b->list));
}

struct bound_portal *bound_portals_put(struct bound_portals *b, struct slice name, struct slice rest, bool *is_lost)
{
	size_t nrest = rest.n <= BOUND_REST_MAX ? rest.n : 0;
	struct bound_portal *p = name.n > BOUND_NAME_MAX ? NULL : calloc(1, sizeof(*p) + nrest);

	*is_lost = false;
	if (p == NULL)
		return NULL;
	p->name = atom_get(name);
	if (p->name == NULL) {
		free(p);
		return NULL;
	}
	*is_lost = b->n == BOUND_PORTALS_MAX;
	if (*is_lost)
		bound_portals_drop(b, TAILQ_FIRST(&b->list));
	p->nrest = (uint32_t)nrest;
	if (nrest > 0)
		memcpy(p->rest, rest.p, nrest);
	TAILQ_INSERT_TAIL(&b->list, p, link);
	b->n++;
	return p;
}
