#include "top/top_live.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "top/top_screen.h"

/* How often the age of a stale picture is told, and a silent peer looked at. */
#define TICK_US CLOCK_SECOND

struct live {
	struct top_source *source;
	struct top_model *model;
	struct top_ui *ui;
	struct top_table head, table;    /* of the last reading */
	uint64_t next_us;                /* the next reading begins */
	uint64_t read_us;                /* the last one was complete */
	bool is_lost;
	bool is_changed;                 /* the screen shows something else */
};

static uint64_t now_us(void)
{
	clock_turn();
	return clock_us();
}

static uint64_t interval_us(const struct live *l)
{
	return (uint64_t)(l->ui->interval * 1e6);
}

/* --- What is shown --- */

static void forget_tables(struct live *l)
{
	top_table_fini(&l->head);
	top_table_fini(&l->table);
}

static void make_tables(struct live *l)
{
	forget_tables(l);
	top_model_head(l->model, &l->head);
	top_model_table(l->model, l->ui->view, &l->table);
}

static bool is_stale(const struct live *l, uint64_t now)
{
	bool is_late = l->source->link != TOP_IDLE && now - l->read_us > 2 * interval_us(l) + TICK_US;

	return l->is_lost || is_late;
}

/* libpq begins with the address, which leaves no room for what a narrow terminal is to show. */
static const char *cause(const char *why)
{
	const char *failed = strstr(why, " failed: ");

	return failed != NULL ? failed + strlen(" failed: ") : why;
}

static void note_trouble(const struct live *l, uint64_t now, char *text, size_t room)
{
	unsigned long long age = (now - l->read_us) / CLOCK_SECOND;

	text[0] = '\0';
	if (l->is_lost)
		snprintf(text, room, "STALE %llus, trying again: %s", age, cause(l->source->why));
	else if (is_stale(l, now))
		snprintf(text, room, "STALE %llus, no answer yet", age);
	else if (!top_model_has(l->model, l->ui->view))
		snprintf(text, room, "asking");
}

static void draw(struct live *l)
{
	char notice[sizeof(l->source->why) + 64];
	uint64_t now = now_us();
	struct top_picture p = {l->ui, &l->head, &l->table, notice, is_stale(l, now)};

	note_trouble(l, now, notice, sizeof(notice));
	top_ui_arrange(l->ui, &l->table);
	if (l->ui->first_row >= l->table.nshown)
		l->ui->first_row = 0;
	if (l->ui->wants_redraw)
		top_screen_forget();
	l->ui->wants_redraw = false;
	l->ui->page = top_screen_draw(&p);
	l->is_changed = false;
}

/* --- What happens --- */

static void note_views(struct live *l)
{
	l->ui->available = 0;
	for (unsigned i = 0; i < TOP_NVIEWS; i++)
		if (top_source_has(l->source, top_views[i].question))
			l->ui->available |= 1u << i;
	if ((l->ui->available & 1u << l->ui->view) == 0)
		l->ui->view = TOP_VIEW_POOLS;
}

static void take_event(struct live *l, enum top_event event)
{
	if (event == TOP_NOTHING)
		return;
	l->is_changed = true;
	l->is_lost = event == TOP_LOST;
	if (l->is_lost) {
		top_model_break(l->model);
		return;
	}
	l->read_us = now_us();
	top_model_take(l->model, top_source_take(l->source), top_source_console(l->source));
	note_views(l);
	make_tables(l);
}

static void begin_when_due(struct live *l)
{
	uint64_t now = now_us();
	bool is_due = l->ui->wants_reading || ((!l->ui->is_paused || l->is_lost) && now >= l->next_us);

	if (!is_due || l->source->link == TOP_CONNECTING || l->source->link == TOP_ASKING)
		return;
	l->ui->wants_reading = false;
	l->next_us = now + interval_us(l);
	take_event(l, top_source_begin(l->source, top_views[l->ui->view].question));
}

static void take_keys(struct live *l)
{
	enum top_view view = l->ui->view;
	double interval = l->ui->interval;
	int key;

	while (!l->ui->is_over && (key = top_screen_key()) >= 0) {
		top_ui_key(l->ui, key, &l->table);
		l->is_changed = true;
	}
	if (view != l->ui->view)
		make_tables(l);
	if (interval != l->ui->interval)
		l->next_us = now_us() + interval_us(l);
	l->model->span_us = interval_us(l) / 2;
}

/* --- Waiting --- */

static int timeout_ms(const struct live *l)
{
	uint64_t now = now_us(), wait = TICK_US;

	if (l->ui->is_paused)
		return (int)(wait / 1000);
	if (l->next_us < now + wait)
		wait = l->next_us > now ? l->next_us - now : 0;
	/* While a reading is under way nothing is due. */
	if (wait == 0 && l->source->link != TOP_IDLE && l->source->link != TOP_DOWN)
		wait = TICK_US;
	return (int)((wait + 999) / 1000);
}

static void wait_and_turn(struct live *l)
{
	struct pollfd fds[2] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = -1}};
	bool is_ready;

	fds[1].fd = top_source_fd(l->source, &fds[1].events);
	is_ready = poll(fds, 2, timeout_ms(l)) > 0 && fds[1].revents != 0;
	if ((fds[0].revents & (POLLHUP | POLLERR | POLLNVAL)) != 0)
		l->ui->is_over = true;
	take_keys(l);
	take_event(l, top_source_turn(l->source, is_ready));
}

void top_live_run(struct top_source *source, struct top_model *model, struct top_ui *ui)
{
	struct live l = {.source = source, .model = model, .ui = ui};

	l.read_us = now_us();
	l.next_us = l.read_us + interval_us(&l);
	note_views(&l);
	make_tables(&l);
	draw(&l);
	while (!ui->is_over) {
		wait_and_turn(&l);
		begin_when_due(&l);
		if (l.is_changed || is_stale(&l, now_us()))
			draw(&l);
	}
	forget_tables(&l);
}
