#include "http/exposition.h"

#include <stdlib.h>

#include "base/clock.h"
#include "http/gathering.h"

struct exposition {
	struct pieces pieces;            /* first: next() and free() cast */
	const struct report *report;
	size_t source;                   /* which one is being gathered or told */
	struct gathering g;
	bool is_gathered;
	size_t metric, row;              /* what is to be told next */
};

static void add_head(struct strbuf *out, const struct metric *m)
{
	static const char *const types[] = {
		[METRIC_GAUGE] = "gauge", [METRIC_COUNTER] = "counter", [METRIC_HISTOGRAM] = "histogram"};

	strbuf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", m->name, m->help, m->name, types[m->type]);
}

static void add_fraction(struct strbuf *out, int64_t value, int64_t one, int digits)
{
	strbuf_addf(out, "%lld.%0*lld", (long long)(value / one), digits, (long long)(value % one));
}

static void add_seconds(struct strbuf *out, int64_t us)
{
	add_fraction(out, us, (int64_t)CLOCK_SECOND, 6);
}

/* Behind the other labels, of which there are some; `le` is the bound in microseconds, 0 for none. */
static void add_bucket(struct strbuf *out, const struct metric *m, struct slice labels, uint64_t le, int64_t count)
{
	strbuf_addf(out, "%s_bucket%.*s,le=\"", m->name, (int)labels.n - 1, labels.p);
	if (le == 0)
		strbuf_add_str(out, "+Inf");
	else
		add_seconds(out, (int64_t)le);
	strbuf_addf(out, "\"} %lld\n", (long long)count);
}

static void add_histogram(struct strbuf *out, const struct gathering *g, size_t row, const struct metric *m,
			  int64_t count)
{
	struct slice labels = gathering_labels(g, row);
	size_t first = g->source->nmetrics;

	for (size_t i = 0; i < HISTOGRAM_BOUND_COUNT; i++)
		add_bucket(out, m, labels, histogram_bounds[i], gathering_value(g, row, first + HISTOGRAM_BELOW + i));
	add_bucket(out, m, labels, 0, count);
	strbuf_addf(out, "%s_sum%.*s ", m->name, (int)labels.n, labels.p);
	add_seconds(out, gathering_value(g, row, first + HISTOGRAM_SUM));
	strbuf_addf(out, "\n%s_count%.*s %lld\n", m->name, (int)labels.n, labels.p, (long long)count);
}

static void add_sample(struct strbuf *out, const struct gathering *g, size_t row, size_t metric)
{
	const struct metric *m = &g->source->metrics[metric];
	int64_t value = gathering_value(g, row, metric);

	if (value == GATHERING_NO_VALUE)
		return;
	if (m->type == METRIC_HISTOGRAM) {
		add_histogram(out, g, row, m, value);
		return;
	}
	strbuf_add_str(out, m->name);
	strbuf_add_slice(out, gathering_labels(g, row));
	strbuf_add_char(out, ' ');
	if (m->reading == READ_MICROSECONDS)
		add_seconds(out, value);
	else if (m->reading == READ_RATIO)
		add_fraction(out, value, CELL_RATIO_ONE, 4);
	else if (m->reading == READ_PERCENT)
		add_fraction(out, value, 100, 2);
	else
		strbuf_addf(out, "%lld", (long long)value);
	strbuf_add_char(out, '\n');
}

/* Moves on; false: all of the source has been told. */
static bool tell_samples(struct exposition *e, unsigned *left, struct strbuf *out)
{
	const struct gathering *g = &e->g;

	for (; e->metric < g->source->nmetrics; e->metric++, e->row = 0) {
		for (; e->row < g->nrows; e->row++, (*left)--) {
			if (*left == 0)
				return true;
			if (e->row == 0)
				add_head(out, &g->source->metrics[e->metric]);
			add_sample(out, g, e->row, e->metric);
		}
	}
	return false;
}

static enum told step(struct exposition *e, unsigned *left, struct strbuf *out)
{
	if (!e->is_gathered) {
		enum told told = gathering_go_on(&e->g, e->report, left);

		e->is_gathered = told == TOLD_ALL;
		return told == TOLD_OUT_OF_MEMORY ? told : TOLD_SOME;
	}
	if (tell_samples(e, left, out))
		return TOLD_SOME;
	gathering_end(&e->g);
	e->source++;
	e->is_gathered = false;
	e->metric = e->row = 0;
	if (e->source == metric_source_count)
		return TOLD_ALL;
	gathering_begin(&e->g, &metric_sources[e->source]);
	return TOLD_SOME;
}

static enum told tell_next(struct pieces *p, unsigned *left, struct strbuf *out)
{
	struct exposition *e = (struct exposition *)p;
	enum told told = TOLD_SOME;

	while (told == TOLD_SOME && *left > 0)
		told = step(e, left, out);
	return told;
}

static void free_exposition(struct pieces *p)
{
	struct exposition *e = (struct exposition *)p;

	gathering_end(&e->g);
	free(e);
}

struct pieces *exposition_new(const struct report *report)
{
	struct exposition *e = calloc(1, sizeof(*e));

	if (e == NULL)
		return NULL;
	e->pieces.next = tell_next;
	e->pieces.free = free_exposition;
	e->report = report;
	gathering_begin(&e->g, &metric_sources[0]);
	return &e->pieces;
}
