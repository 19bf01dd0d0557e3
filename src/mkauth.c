/*
 * pgsluice-mkauth: auth_file's lines, from what a running server knows.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/sys.h"
#include "mkauth/mkauth_args.h"
#include "mkauth/mkauth_file.h"
#include "mkauth/mkauth_password.h"
#include "mkauth/mkauth_server.h"

/* Each of its lines behind the program's name. */
static void tell(const struct strbuf *text)
{
	struct slice rest = slice_trim(strbuf_slice(text)), line;

	while (slice_split(&rest, '\n', &line))
		fprintf(stderr, "pgsluice-mkauth: %.*s\n", (int)line.n, line.p);
}

static bool make_line(PGconn *pq, const struct mkauth_args *args, struct strbuf *lines, struct strbuf *error)
{
	struct mkauth_password password;
	const char *wrong = mkauth_password_take(&password);
	bool ok = wrong == NULL;

	if (ok)
		ok = mkauth_server_hash(pq, args->hash, password.text, args->method, lines, error);
	else
		strbuf_add_str(error, wrong);
	sys_wipe(&password, sizeof(password));
	return ok;
}

static bool make_lines(const struct mkauth_args *args, struct strbuf *lines, struct strbuf *error)
{
	PGconn *pq = mkauth_server_open(args->conninfo, error);
	struct strbuf warnings;
	bool ok;

	if (pq == NULL)
		return false;
	strbuf_init(&warnings);
	ok = args->hash != NULL ? make_line(pq, args, lines, error)
				: mkauth_server_roles(pq, args, lines, &warnings, error);
	tell(&warnings);
	strbuf_fini(&warnings);
	PQfinish(pq);
	if (ok && lines->failed) {
		strbuf_add_str(error, "out of memory");
		ok = false;
	}
	return ok;
}

static bool print(struct slice text, struct strbuf *error)
{
	if ((text.n == 0 || fwrite(text.p, text.n, 1, stdout) == 1) && fflush(stdout) == 0)
		return true;
	strbuf_add_str(error, "cannot write to standard output");
	return false;
}

static bool run(const struct mkauth_args *args, struct strbuf *error)
{
	struct strbuf lines;
	bool ok;

	strbuf_init(&lines);
	ok = make_lines(args, &lines, error);
	if (ok && args->output != NULL)
		ok = mkauth_file_replace(args->output, strbuf_slice(&lines), error);
	else if (ok)
		ok = print(strbuf_slice(&lines), error);
	strbuf_fini(&lines);
	return ok;
}

int main(int argc, char **argv)
{
	struct mkauth_args args;
	struct strbuf error;
	enum mkauth_way way;
	bool ok;

	sys_allow_core_dumps(false);
	way = mkauth_args_take(&args, argc, argv, PACKAGE_VERSION);
	strbuf_init(&error);
	ok = way == MKAUTH_DONE || (way == MKAUTH_RUN && run(&args, &error));
	tell(&error);
	strbuf_fini(&error);
	free(args.users);
	return ok ? 0 : 1;
}
