#include "admin/courtesy.h"

#include <strings.h>

static const struct courtesy courtesies[] = {
	{"BEGIN", "BEGIN", COURTESY_BEGIN, false},
	{"BEGIN *", "BEGIN", COURTESY_BEGIN, false},
	{"START TRANSACTION", "START TRANSACTION", COURTESY_BEGIN, false},
	{"START TRANSACTION *", "START TRANSACTION", COURTESY_BEGIN, false},
	{"COMMIT", "COMMIT", COURTESY_END, false},
	{"COMMIT WORK", "COMMIT", COURTESY_END, false},
	{"COMMIT TRANSACTION", "COMMIT", COURTESY_END, false},
	{"END", "COMMIT", COURTESY_END, false},
	{"END TRANSACTION", "COMMIT", COURTESY_END, false},
	{"ROLLBACK", "ROLLBACK", COURTESY_END, false},
	{"ROLLBACK WORK", "ROLLBACK", COURTESY_END, false},
	{"ROLLBACK TRANSACTION", "ROLLBACK", COURTESY_END, false},
	{"ABORT", "ROLLBACK", COURTESY_END, false},
	{"ROLLBACK TO *", "ROLLBACK", COURTESY_NONE, false},
	{"SAVEPOINT *", "SAVEPOINT", COURTESY_NONE, false},
	{"RELEASE *", "RELEASE", COURTESY_NONE, false},
	{"SET TRANSACTION *", "SET", COURTESY_NONE, true},
	{"SET SESSION CHARACTERISTICS AS TRANSACTION *", "SET", COURTESY_NONE, true},
	{"SET TIME ZONE *", "SET", COURTESY_NONE, true},
	{"SET NAMES *", "SET", COURTESY_NONE, true},
	{"RESET ALL", "RESET", COURTESY_NONE, true},
	{"UNLISTEN *", "UNLISTEN", COURTESY_NONE, false},
	{"CLOSE ALL", "CLOSE CURSOR ALL", COURTESY_NONE, false},
	{"DEALLOCATE ALL", "DEALLOCATE ALL", COURTESY_DEALLOCATE_ALL, false},
	{"DEALLOCATE *", "DEALLOCATE", COURTESY_DEALLOCATE, false},
	{"DISCARD ALL", "DISCARD ALL", COURTESY_DEALLOCATE_ALL, false},
};

/* ------------------------------------------------------------------ statements */

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}

static struct slice next_word(struct slice *rest)
{
	struct slice word = slice_trim(*rest);
	size_t n = 0;

	while (n < word.n && !is_blank(word.p[n]))
		n++;
	*rest = (struct slice){word.p + n, word.n - n};
	return (struct slice){word.p, n};
}

/* Without the semicolons at its end; those within would be the end of one statement and begin another. */
static struct slice without_end(struct slice sql)
{
	sql = slice_trim(sql);
	while (sql.n > 0 && (sql.p[sql.n - 1] == ';' || is_blank(sql.p[sql.n - 1])))
		sql.n--;
	return sql;
}

static bool matches(struct slice sql, const char *pattern)
{
	struct slice expected = slice_of(pattern);

	for (;;) {
		struct slice word = next_word(&sql), wanted = next_word(&expected);

		if (slice_is(wanted, "*") && word.n > 0)
			return true;
		if (word.n == 0 || wanted.n == 0)
			return word.n == 0 && wanted.n == 0;
		if (word.n != wanted.n || strncasecmp(word.p, wanted.p, word.n) != 0)
			return false;
	}
}

const struct courtesy *courtesy_find(struct slice sql)
{
	sql = without_end(sql);
	if (sql.n == 0 || memchr(sql.p, ';', sql.n) != NULL || memchr(sql.p, '\0', sql.n) != NULL)
		return NULL;
	for (size_t i = 0; i < sizeof(courtesies) / sizeof(courtesies[0]); i++) {
		if (matches(sql, courtesies[i].pattern))
			return &courtesies[i];
	}
	return NULL;
}

struct slice courtesy_last_word(struct slice sql)
{
	struct slice rest = without_end(sql), word, last = {0};

	while ((word = next_word(&rest)).n > 0)
		last = word;
	if (last.n >= 2 && last.p[0] == '"' && last.p[last.n - 1] == '"')
		last = (struct slice){last.p + 1, last.n - 2};
	return last;
}

/* ------------------------------------------------------------------ settings */

/* X(name, what SHOW has for it): those that PgBouncer fakes, and one that drivers ask for. */
#define SHOWN_SETTINGS(X)                                   \
	X(client_encoding, "UTF-8")                         \
	X(default_transaction_isolation, "read committed")  \
	X(standard_conforming_strings, "on")                \
	X(datestyle, "ISO")                                 \
	X(timezone, "GMT")                                  \
	X(transaction_isolation, "read committed")

#define X(name, value)                                                                  \
	static bool name##_rows(const struct report *r, struct row_sink *sink)          \
	{                                                                               \
		(void)r;                                                                \
		sink->on_row(sink, (const struct cell[]){cell_text(value)});            \
		return true;                                                            \
	}                                                                               \
	static const struct column name##_columns[] = {{#name, COLUMN_TEXT}};
SHOWN_SETTINGS(X)
#undef X

static const struct table shown_settings[] = {
#define X(name, value) TABLE(#name, name##_columns, name##_rows),
	SHOWN_SETTINGS(X)
#undef X
};

/* Further ones that may be SET. */
static const char *const other_settings[] = {
	"application_name", "bytea_output", "client_min_messages", "extra_float_digits",
	"idle_in_transaction_session_timeout", "intervalstyle", "lock_timeout", "search_path", "statement_timeout",
};

const struct table *courtesy_table(const char *name)
{
	for (size_t i = 0; i < sizeof(shown_settings) / sizeof(shown_settings[0]); i++) {
		if (slice_is_nocase(slice_of(name), shown_settings[i].name))
			return &shown_settings[i];
	}
	return NULL;
}

const struct table *courtesy_shows(struct slice sql)
{
	return matches(without_end(sql), "SHOW TRANSACTION ISOLATION LEVEL") ? courtesy_table("transaction_isolation") : NULL;
}

bool courtesy_is_setting(const char *name)
{
	for (size_t i = 0; i < sizeof(other_settings) / sizeof(other_settings[0]); i++) {
		if (slice_is_nocase(slice_of(name), other_settings[i]))
			return true;
	}
	return courtesy_table(name) != NULL;
}
