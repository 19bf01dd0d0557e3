#include "backend.h"

#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../fuzz.h"
#include "proto/msg.h"
#include "proto/out.h"
#include "proto/startup.h"
#include "world.h"

#define MESSAGE_MAX ((uint32_t)1 << 24)
#define ROWS_MAX 20000

void backend_open(struct backend *b, int fd, uint32_t id)
{
	*b = (struct backend){.fd = fd, .id = id, .status = 'I'};
	strbuf_init(&b->in);
	strbuf_init(&b->out);
}

static void forget(struct backend_named *n)
{
	free(n->text);
	free(n->value);
	*n = (struct backend_named){.text = NULL};
}

static void forget_all(struct backend_named *all)
{
	for (size_t i = 0; i < BACKEND_NAMES; i++)
		forget(&all[i]);
}

void backend_close(struct backend *b)
{
	if (b->fd < 0)
		return;
	close(b->fd);
	b->fd = -1;
	b->state = BACKEND_GONE;
	strbuf_fini(&b->in);
	strbuf_fini(&b->out);
	forget_all(b->statements);
	forget_all(b->portals);
}

/* ------------------------------------------------------------------ names */

/* The one of this name, or NULL. A name that is too long is one that nobody has. */
static struct backend_named *find(struct backend_named *all, struct slice name)
{
	for (size_t i = 0; i < BACKEND_NAMES; i++)
		if (all[i].text != NULL && slice_is(name, all[i].name))
			return &all[i];
	return NULL;
}

/* In the place of a former one; NULL: there are too many. */
static struct backend_named *put(struct backend_named *all, struct slice name, struct slice text)
{
	struct backend_named *n = find(all, name);

	for (size_t i = 0; n == NULL && i < BACKEND_NAMES; i++)
		if (all[i].text == NULL)
			n = &all[i];
	if (n == NULL || name.n >= sizeof(n->name))
		return NULL;
	forget(n);
	memcpy(n->name, name.p, name.n);
	n->text = strndup(text.p, text.n);
	must(n->text != NULL);
	return n;
}

static void forget_name(struct backend_named *all, struct slice name)
{
	struct backend_named *n = find(all, name);

	if (n != NULL)
		forget(n);
}

/* ------------------------------------------------------------------ answers */

/* Portals end with their transaction. */
static void say_ready(struct backend *b)
{
	if (b->status == 'I')
		forget_all(b->portals);
	out_ready_for_query(&b->out, b->status);
}

/* Behind it, in the extended protocol, nothing is looked at before a Sync. */
static void say_error(struct backend *b, const char *sqlstate, struct slice text)
{
	char message[256];
	struct out_error e = {.severity = "ERROR", .sqlstate = sqlstate, .message = message};

	snprintf(message, sizeof(message), "no: %.*s", (int)(text.n > 200 ? 200 : text.n), text.p);
	out_error_response(&b->out, 'E', &e);
	if (b->status == 'T')
		b->status = 'E';
	b->is_skipping = !b->is_simple;
}

static void say_columns(struct backend *b)
{
	const struct out_column column = {.name = "echo", .type_oid = 25, .type_size = -1};

	out_row_description(&b->out, &column, 1);
}

static void say_row(struct backend *b, struct slice text)
{
	size_t mark = out_row_begin(&b->out, 1);

	out_row_text(&b->out, text);
	out_end(&b->out, mark);
}

static void say_reported(struct backend *b, const char *name, const char *value)
{
	out_parameter_status(&b->out, slice_of(name), slice_of(value));
}

/* ------------------------------------------------------------------ SQL */

/* The text goes on behind a word. */
static bool take_word(struct slice *text, const char *word)
{
	size_t n = strlen(word);

	*text = slice_trim(*text);
	if (text->n < n || strncasecmp(text->p, word, n) != 0)
		return false;
	*text = slice_trim((struct slice){text->p + n, text->n - n});
	return true;
}

static struct slice next_name(struct slice *text)
{
	struct slice name = {text->p, 0};

	while (name.n < text->n && strchr(" ;(", name.p[name.n]) == NULL)
		name.n++;
	text->p += name.n;
	text->n -= name.n;
	return name;
}

static void begin_copy_in(struct backend *b)
{
	size_t mark = out_begin(&b->out, 'G');

	out_u8(&b->out, 0);
	out_u16(&b->out, 1);
	out_u16(&b->out, 0);
	out_end(&b->out, mark);
	b->copying = 'G';
}

static void copy_out(struct backend *b, struct slice text)
{
	size_t mark = out_begin(&b->out, 'H');

	out_u8(&b->out, 0);
	out_u16(&b->out, 1);
	out_u16(&b->out, 0);
	out_end(&b->out, mark);
	mark = out_begin(&b->out, 'd');
	strbuf_add_slice(&b->out, text);
	out_end(&b->out, mark);
	out_simple(&b->out, 'c');
	out_command_complete(&b->out, "COPY 1");
}

static void run_rows(struct backend *b, struct slice text, struct slice number)
{
	int64_t n = 0;

	slice_to_int64(next_name(&number), &n);
	for (int64_t i = 0; i < n && i < ROWS_MAX; i++)
		say_row(b, text);
	out_command_complete(&b->out, "SELECT 1");
}

static void prepare(struct backend *b, struct slice rest)
{
	struct slice name = next_name(&rest);

	if (!take_word(&rest, "as ") || put(b->statements, name, rest) == NULL)
		say_error(b, "42601", rest);
	else
		out_command_complete(&b->out, "PREPARE");
}

static void deallocate(struct backend *b, struct slice rest)
{
	struct backend_named *n;

	take_word(&rest, "prepare ");
	if (take_word(&rest, "all")) {
		forget_all(b->statements);
		out_command_complete(&b->out, "DEALLOCATE ALL");
		return;
	}
	n = find(b->statements, next_name(&rest));
	if (n == NULL) {
		say_error(b, "26000", rest);
		return;
	}
	forget(n);
	out_command_complete(&b->out, "DEALLOCATE");
}

static void end_transaction(struct backend *b, const char *tag)
{
	b->status = 'I';
	out_command_complete(&b->out, tag);
}

/* What returns rows, as a Describe or the Query before them tells. */
static bool has_rows(struct slice text)
{
	static const char *const without[] = {
		"begin", "commit", "rollback", "prepare ", "deallocate", "discard", "fail", "copy in", "copy out",
	};

	for (size_t i = 0; i < sizeof(without) / sizeof(without[0]); i++)
		if (take_word(&text, without[i]))
			return false;
	return text.n > 0;
}

static void execute_prepared(struct backend *b, struct slice rest)
{
	struct backend_named *n = find(b->statements, next_name(&rest));

	if (n == NULL) {
		say_error(b, "26000", rest);
		return;
	}
	say_row(b, slice_of(n->text));
	out_command_complete(&b->out, "SELECT 1");
}

/* Runs a text up to its CommandComplete, error, or the beginning of its COPY. Columns have been told. */
static void run(struct backend *b, struct slice text)
{
	struct slice rest = text;

	if (b->status == 'E' && !take_word(&rest, "commit") && !take_word(&rest, "rollback")) {
		say_error(b, "25P02", SLICE_LIT("transaction is aborted"));
	} else if (take_word(&rest, "begin")) {
		b->status = 'T';
		out_command_complete(&b->out, "BEGIN");
	} else if (b->status == 'E' || take_word(&rest, "rollback")) {
		end_transaction(b, "ROLLBACK");
	} else if (take_word(&rest, "commit")) {
		end_transaction(b, "COMMIT");
	} else if (take_word(&rest, "fail")) {
		say_error(b, "22012", text);
	} else if (take_word(&rest, "copy in")) {
		begin_copy_in(b);
	} else if (take_word(&rest, "copy out")) {
		copy_out(b, text);
	} else if (take_word(&rest, "prepare ")) {
		prepare(b, rest);
	} else if (take_word(&rest, "execute ")) {
		execute_prepared(b, rest);
	} else if (take_word(&rest, "deallocate")) {
		deallocate(b, rest);
	} else if (take_word(&rest, "discard")) {
		forget_all(b->statements);
		out_command_complete(&b->out, "DISCARD ALL");
	} else if (take_word(&rest, "rows ")) {
		run_rows(b, text, rest);
	} else if (take_word(&rest, "sleep")) {
		b->is_sleeping = true;
	} else {
		say_row(b, text);
		out_command_complete(&b->out, "SELECT 1");
	}
}

static bool is_busy(const struct backend *b)
{
	return b->copying != 0 || b->is_sleeping;
}

static void on_query(struct backend *b, const struct msg *m)
{
	struct cursor c = msg_cursor(m);
	struct slice text = slice_trim(cursor_string(&c));

	forget_name(b->portals, SLICE_LIT(""));
	forget_name(b->statements, SLICE_LIT(""));
	if (text.n == 0) {
		out_simple(&b->out, 'I');
	} else {
		if (has_rows(text) && b->status != 'E')
			say_columns(b);
		run(b, text);
	}
	if (!is_busy(b))
		say_ready(b);
}

/* ------------------------------------------------------------------ the extended protocol */

static void on_parse(struct backend *b, struct cursor *c)
{
	struct slice name = cursor_string(c), text = cursor_string(c);

	if (c->bad)
		say_error(b, "08P01", SLICE_LIT("malformed Parse"));
	else if (name.n > 0 && find(b->statements, name) != NULL)
		say_error(b, "42P05", name);
	else if (put(b->statements, name, text) == NULL)
		say_error(b, "53200", name);
	else
		out_simple(&b->out, '1');
}

/* The second parameter of set_config(), which is its value. */
static void keep_value(struct backend_named *portal, struct cursor *c)
{
	uint16_t nformats = cursor_u16(c);
	struct slice first, second;
	uint16_t n;

	cursor_bytes(c, (size_t)nformats * 2);
	n = cursor_u16(c);
	if (n < 2)
		return;
	first = cursor_bytes(c, cursor_u32(c));
	second = cursor_bytes(c, cursor_u32(c));
	if (c->bad)
		return;
	portal->value = malloc(first.n + second.n + 2);
	must(portal->value != NULL);
	memcpy(portal->value, first.p, first.n);
	portal->value[first.n] = '\0';
	memcpy(portal->value + first.n + 1, second.p, second.n);
	portal->value[first.n + 1 + second.n] = '\0';
}

static void on_bind(struct backend *b, struct cursor *c)
{
	struct slice portal = cursor_string(c), name = cursor_string(c);
	struct backend_named *statement = find(b->statements, name), *p;

	if (statement == NULL) {
		say_error(b, "26000", name);
		return;
	}
	p = put(b->portals, portal, slice_of(statement->text));
	if (p == NULL) {
		say_error(b, "53200", portal);
		return;
	}
	keep_value(p, c);
	out_simple(&b->out, '2');
}

static void describe(struct backend *b, struct slice text)
{
	if (has_rows(text))
		say_columns(b);
	else
		out_simple(&b->out, 'n');
}

static void on_describe(struct backend *b, struct cursor *c)
{
	bool is_statement = cursor_u8(c) == 'S';
	struct slice name = cursor_string(c);
	struct backend_named *n = find(is_statement ? b->statements : b->portals, name);
	size_t mark;

	if (n == NULL) {
		say_error(b, is_statement ? "26000" : "34000", name);
		return;
	}
	if (is_statement) {
		mark = out_begin(&b->out, 't');
		out_u16(&b->out, 0);
		out_end(&b->out, mark);
	}
	describe(b, slice_of(n->text));
}

/* The name and value that set_config() was called with are the server's now, and it reports them. */
static void set_config(struct backend *b, const struct backend_named *portal)
{
	const char *value = portal->value + strlen(portal->value) + 1;

	say_row(b, slice_of(value));
	say_reported(b, portal->value, value);
	out_command_complete(&b->out, "SELECT 1");
}

static void on_execute(struct backend *b, struct cursor *c)
{
	struct slice name = cursor_string(c);
	struct backend_named *portal = find(b->portals, name);

	if (portal == NULL)
		say_error(b, "34000", name);
	else if (portal->value != NULL && strstr(portal->text, "set_config(") != NULL)
		set_config(b, portal);
	else if (portal->text[0] == '\0')
		out_simple(&b->out, 'I');
	else
		run(b, slice_of(portal->text));
}

static void on_close(struct backend *b, struct cursor *c)
{
	bool is_statement = cursor_u8(c) == 'S';

	forget_name(is_statement ? b->statements : b->portals, cursor_string(c));
	out_simple(&b->out, '3');
}

/* In COPY a Sync or a Flush is nothing; what else is no COPY data ends it, and is lost. */
static void on_copy(struct backend *b, char type)
{
	if (strchr("dSH", type) != NULL)
		return;
	b->copying = 0;
	if (type == 'c')
		out_command_complete(&b->out, "COPY 1");
	else
		say_error(b, type == 'f' ? "57014" : "08P01", SLICE_LIT("COPY has failed"));
	if (b->is_simple)
		say_ready(b);
}

static void on_message(struct backend *b, const struct msg *m)
{
	struct cursor c = msg_cursor(m);

	if (b->copying != 0) {
		on_copy(b, m->type);
		return;
	}
	/* Queries too. */
	if (b->is_skipping && m->type != 'S')
		return;
	b->is_simple = m->type == 'Q' || m->type == 'F';
	switch (m->type) {
	case 'Q':
		on_query(b, m);
		break;
	case 'S':
		b->is_skipping = false;
		say_ready(b);
		break;
	case 'P':
		on_parse(b, &c);
		break;
	case 'B':
		on_bind(b, &c);
		break;
	case 'D':
		on_describe(b, &c);
		break;
	case 'E':
		on_execute(b, &c);
		break;
	case 'C':
		on_close(b, &c);
		break;
	case 'H':
	case 'd':
	case 'c':
	case 'f':
		break;
	case 'F':
		say_error(b, "42883", SLICE_LIT("no functions here"));
		say_ready(b);
		break;
	default:
		say_error(b, "08P01", SLICE_LIT("no such message"));
	}
}

void backend_wake(struct backend *b, bool is_cancelled)
{
	if (!b->is_sleeping)
		return;
	b->is_sleeping = false;
	if (is_cancelled)
		say_error(b, "57014", SLICE_LIT("cancelled"));
	else
		out_command_complete(&b->out, "SELECT 0");
	if (b->is_simple)
		say_ready(b);
}

/* ------------------------------------------------------------------ login */

static void welcome(struct backend *b)
{
	const uint32_t key[] = {b->id, ~b->id};

	out_auth(&b->out, 0);
	say_reported(b, "server_version", "15.0");
	say_reported(b, "client_encoding", "UTF8");
	say_reported(b, "DateStyle", "ISO");
	say_reported(b, "TimeZone", "UTC");
	say_reported(b, "standard_conforming_strings", "on");
	say_reported(b, "IntervalStyle", "postgres");
	say_reported(b, "application_name", "");
	say_reported(b, "in_hot_standby", "off");
	out_backend_key_data(&b->out, key, sizeof(key));
	say_ready(b);
	b->state = BACKEND_READY;
}

/* How much of it was taken. */
static size_t on_startup(struct backend *b, const uint8_t *p, size_t n)
{
	struct startup s;

	switch (startup_parse(p, n, &s)) {
	case STARTUP_SHORT:
		return 0;
	case STARTUP_SSL_REQUEST:
	case STARTUP_GSSENC_REQUEST:
		strbuf_add_char(&b->out, 'N');
		return s.size;
	case STARTUP_CANCEL:
		memcpy(&b->cancels, s.cancel_key.p, sizeof(b->cancels));
		b->state = BACKEND_GONE;
		return s.size;
	case STARTUP_MESSAGE:
		if (b->asks_password) {
			out_auth(&b->out, 3);
			b->state = BACKEND_PASSWORD;
		} else {
			welcome(b);
		}
		return s.size;
	default:
		must(!"a pooler sends packets that can be read");
	}
	return 0;
}

/* As PostgreSQL: of what is that long it wants no more. */
static bool is_too_long(const struct msg *m)
{
	return m->len > MESSAGE_MAX;
}

/* How much was taken of what has come: of a query that sleeps, nothing behind it. */
static size_t take(struct backend *b, const uint8_t *p, size_t n)
{
	enum peek peek;
	struct msg m;

	if (b->state == BACKEND_STARTUP)
		return on_startup(b, p, n);
	if (b->state == BACKEND_GONE || b->is_sleeping)
		return 0;
	peek = msg_peek(p, n, INT32_MAX, &m);
	must(peek != PEEK_BAD);
	if (peek == PEEK_OK && is_too_long(&m))
		b->state = BACKEND_GONE;
	if (peek == PEEK_SHORT || m.have < m.len)
		return 0;
	if (m.type == 'X')
		b->state = BACKEND_GONE;
	else if (b->state == BACKEND_PASSWORD)
		welcome(b);
	else
		on_message(b, &m);
	return MSG_HEADER_SIZE + m.len;
}

static void drop(struct strbuf *b, size_t n)
{
	memmove(b->p, b->p + n, b->n - n);
	b->n -= n;
}

static void flush(struct backend *b)
{
	size_t most = b->pace == 0 || b->pace > b->out.n ? b->out.n : b->pace;
	ssize_t n = most == 0 ? 0 : send(b->fd, b->out.p, most, MSG_NOSIGNAL);

	if (n > 0)
		drop(&b->out, (size_t)n);
	b->has_moved = b->has_moved || n > 0;
}

bool backend_turn(struct backend *b)
{
	size_t before = b->in.n, pos = 0, n;
	bool is_open = world_receive(b->fd, &b->in);

	b->has_moved = b->in.n > before;
	while (pos < b->in.n && (n = take(b, (const uint8_t *)b->in.p + pos, b->in.n - pos)) > 0)
		pos += n;
	if (pos > 0)
		drop(&b->in, pos);
	flush(b);
	if (is_open && b->state != BACKEND_GONE)
		return true;
	backend_close(b);
	return false;
}
