#include "pool/failure.h"

static struct atom *keep(const char *text)
{
	return text == NULL ? NULL : atom_get(slice_of(text));
}

void failure_set(struct failure *f, const char *sqlstate, const char *message, const char *detail, const char *hint,
		 bool is_servers)
{
	/* Made before the old ones go: they may be the same texts. */
	const struct failure new = {.sqlstate = keep(sqlstate),
				    .message = keep(message),
				    .detail = keep(detail),
				    .hint = keep(hint),
				    .is_servers = is_servers};

	failure_clear(f);
	*f = new;
}

void failure_copy(struct failure *f, const struct failure *from)
{
	failure_set(f, failure_text(from->sqlstate), failure_text(from->message), failure_text(from->detail),
		    failure_text(from->hint), from->is_servers);
}

void failure_clear(struct failure *f)
{
	atom_unref(&f->sqlstate);
	atom_unref(&f->message);
	atom_unref(&f->detail);
	atom_unref(&f->hint);
	f->is_servers = false;
}
