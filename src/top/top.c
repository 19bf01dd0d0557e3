#include "top/top.h"

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <bsd/readpassphrase.h>

#include "base/sys.h"
#include "top/top_args.h"
#include "top/top_batch.h"
#include "top/top_live.h"
#include "top/top_model.h"
#include "top/top_screen.h"
#include "top/top_source.h"
#include "top/top_ui.h"

struct top {
	struct top_args args;
	struct top_source source;
	struct top_model model;
	struct top_ui ui;
	char password[1024];
};

static bool complain(const char *what, const char *which)
{
	fprintf(stderr, "pgsluice top: %s%s\n", what, which);
	return false;
}

static bool ask_password(struct top *t)
{
	if (readpassphrase("Password: ", t->password, sizeof(t->password), RPP_ECHO_OFF) == NULL)
		return false;
	t->args.target.password = t->password;
	return true;
}

static bool read_once(struct top *t)
{
	if (!top_source_read(&t->source, top_views[t->ui.view].question))
		return false;
	top_model_take(&t->model, top_source_take(&t->source), top_source_console(&t->source));
	return true;
}

/* The first reading, on a terminal that is still as everybody knows it: a password may be asked for. */
static bool read_first(struct top *t)
{
	if (t->args.asks_first && !ask_password(t))
		return complain("no password", "");
	if (read_once(t))
		return true;
	if (!t->source.needs_password || t->args.never_asks || t->args.target.password != NULL || !ask_password(t))
		return complain(t->source.why, "");
	return read_once(t) || complain(t->source.why, "");
}

static bool choose_view(struct top *t)
{
	if (t->args.view != NULL && !top_ui_choose_view(&t->ui, t->args.view))
		return complain("no such view: ", t->args.view);
	return true;
}

/* Only the peer's answer tells which columns there are. */
static bool choose_sort(struct top *t)
{
	struct top_table table;
	bool found;

	if (!top_model_has(&t->model, t->ui.view))
		return complain("the pooler does not have this view: ", top_views[t->ui.view].title);
	if (t->args.sort == NULL)
		return true;
	top_model_table(&t->model, t->ui.view, &table);
	found = top_table_column(&table, t->args.sort) < table.ncolumns;
	top_table_fini(&table);
	if (!found)
		return complain("no such column: ", t->args.sort);
	top_ui_sort_by(&t->ui, t->args.sort);
	return true;
}

static void sleep_for(double seconds)
{
	struct timespec left = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};

	while (nanosleep(&left, &left) != 0)
		continue;
}

/* Each picture has two readings behind it, so that all its rates are known. */
static bool run_batch(struct top *t)
{
	for (unsigned n = 0; t->args.count == 0 || n < t->args.count; n++) {
		sleep_for(t->args.interval);
		if (!read_once(t))
			return complain(t->source.why, "");
		top_batch_print(&t->model, &t->ui, stdout);
		if (ferror(stdout))
			return complain("cannot write to standard output", "");
	}
	return true;
}

static bool run_live(struct top *t)
{
	const char *why;

	if (!top_screen_open(&why))
		return complain(why, "");
	top_live_run(&t->source, &t->model, &t->ui);
	top_screen_close();
	return true;
}

static bool run(struct top *t)
{
	top_source_init(&t->source, &t->args.target);
	top_ui_init(&t->ui, t->args.interval);
	t->model.is_plain = t->args.batch;
	t->model.span_us = (uint64_t)(t->args.interval * 1e6) / 2;
	if (!choose_view(t) || !read_first(t) || !choose_sort(t))
		return false;
	return t->args.batch ? run_batch(t) : run_live(t);
}

int top_main(int argc, char **argv, const char *version)
{
	struct top *t = calloc(1, sizeof(*t));
	enum top_way way = t == NULL ? TOP_WRONG : top_args_take(&t->args, argc, argv, version);
	int status = way == TOP_DONE ? 0 : 1;

	/* Numbers are written and read as everywhere. */
	setlocale(LC_CTYPE, "");
	if (way == TOP_RUN)
		status = run(t) ? 0 : 1;
	if (t != NULL) {
		top_source_fini(&t->source);
		top_model_fini(&t->model);
		sys_wipe(t->password, sizeof(t->password));
	}
	free(t);
	return status;
}
