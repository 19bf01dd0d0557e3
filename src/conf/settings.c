#include "conf/settings.h"

#include <assert.h>
#include <stdlib.h>

#define SECOND INT64_C(1000000)
#define LONGEST INT64_C(3153600000)    /* seconds: a century, so that now + timeout never overflows */

static const char *const pool_mode_words[] = {"session", "transaction", "statement", NULL};
static const char *const pool_size_mode_words[] = {"fixed", "adaptive", NULL};
static const char *const auth_type_words[] = {"any", "trust", "plain", "md5", "scram-sha-256",
					      "cert", "hba", "ldap", "pam", NULL};
static const char *const tls_mode_words[] = {"disable", "allow", "prefer", "require", "verify-ca", "verify-full", NULL};
static const char *const tls_negotiation_words[] = {"postgres", "direct", NULL};
static const char *const load_balance_words[] = {"disable", "round-robin", "least-connections", NULL};
static const char *const session_attrs_words[] = {"any",     "read-write", "read-only",
						  "primary", "standby",    "prefer-standby", NULL};
static const char *const down_action_words[] = {"fail", "wait", NULL};
static const char *const result_change_words[] = {"retry", "error", NULL};
static const char *const prepared_unnamed_words[] = {"off", "cache", NULL};
static const char *const log_format_words[] = {"text", "json", NULL};
static const char *const server_abandoned_words[] = {"rollback", "close", NULL};
static const char *const shutdown_mode_words[] = {"wait_for_clients", "wait_for_servers", "drain", NULL};
static const char *const sqlstate_compat_words[] = {"postgresql", "pgbouncer", NULL};

/* The limits column of settings.def, as initialisers of struct setting_info. */
#define RANGE(lo, hi) .min = (lo), .max = (hi)
#define SECONDS(lo, hi) .min = (lo) * SECOND, .max = (hi) * SECOND
#define CHOICE(list, last) .words = (list), .max = (last)
#define MODE .max = 0777
#define FLAG .max = 1
#define TEXT .secret = false
#define SECRET_TEXT .secret = true

static const struct setting_info infos[SETTING_COUNT] = {
#define X(name_, type_, default_, scope_, when_, effect_, entity_key_, alias_, limits_, doc_) \
	[SETTING_##name_] = {.name = #name_, .type = SETTING_TYPE_##type_, .scope = (scope_), \
			     .entity_key = (entity_key_), .alias = (alias_), .when = (when_), .effect = (effect_), \
			     .default_text = (default_), limits_, .doc = (doc_)},
#include "conf/settings.def"
#undef X
};

static const size_t offsets[SETTING_COUNT] = {
#define X(name, ...) [SETTING_##name] = offsetof(struct settings, name),
#include "conf/settings.def"
#undef X
};

/* struct conf_overrides has room only for the ids below SETTING_ENTITY_COUNT. */
#define X(name, type, default_text, scope, ...) \
	static_assert(((scope) != SCOPE_GLOBAL) == ((int)SETTING_##name < (int)SETTING_ENTITY_COUNT), \
		      #name " stands in the wrong part of settings.def");
#include "conf/settings.def"
#undef X

const struct setting_info *setting_info(enum setting_id id)
{
	return &infos[id];
}

static int by_name(const void *a, const void *b)
{
	return strcmp(infos[*(const enum setting_id *)a].name, infos[*(const enum setting_id *)b].name);
}

enum setting_id setting_by_rank(size_t i)
{
	static enum setting_id sorted[SETTING_COUNT];
	static bool is_sorted;

	if (!is_sorted) {
		for (int id = 0; id < SETTING_COUNT; id++)
			sorted[id] = (enum setting_id)id;
		qsort(sorted, SETTING_COUNT, sizeof(sorted[0]), by_name);
		is_sorted = true;
	}
	return sorted[i];
}

static bool is_named(struct slice name, const char *one, const char *other)
{
	return slice_is(name, one) || (other != NULL && slice_is(name, other));
}

bool setting_find(struct slice name, enum setting_id *id)
{
	for (int i = 0; i < SETTING_COUNT; i++) {
		/* An alias of a setting that databases have too is theirs: it is no name in [pgbouncer]. */
		const char *alias = infos[i].scope == SCOPE_GLOBAL ? infos[i].alias : NULL;

		if (is_named(name, infos[i].name, alias)) {
			*id = (enum setting_id)i;
			return true;
		}
	}
	return false;
}

bool setting_find_entity(struct slice key, enum setting_scope scope, enum setting_id *id)
{
	for (int i = 0; i < SETTING_ENTITY_COUNT; i++) {
		const char *name = infos[i].entity_key != NULL ? infos[i].entity_key : infos[i].name;

		if ((infos[i].scope & scope) != 0 && is_named(key, name, infos[i].alias)) {
			*id = (enum setting_id)i;
			return true;
		}
	}
	return false;
}

/* --- reading --- */

struct unit {
	const char *name;        /* NULL: the end */
	int64_t factor;
};

static const struct unit time_units[] = {
	{"us", 1}, {"ms", 1000}, {"s", SECOND}, {"min", 60 * SECOND}, {"h", 3600 * SECOND}, {"d", 86400 * SECOND},
	{NULL, 0},
};

/* As PostgreSQL counts them. */
static const struct unit size_units[] = {
	{"B", 1}, {"kB", 1 << 10}, {"MB", 1 << 20}, {"GB", 1 << 30}, {"TB", INT64_C(1) << 40}, {NULL, 0},
};

static bool read_boolean(struct slice s, int64_t *number)
{
	static const char *const yes[] = {"1", "on", "yes", "true"};
	static const char *const no[] = {"0", "off", "no", "false"};

	for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
		*number = slice_is_nocase(s, yes[i]);
		if (*number == 1 || slice_is_nocase(s, no[i]))
			return true;
	}
	return false;
}

static int digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return 16;
}

/* Digits of a base and nothing else. */
static bool read_digits(struct slice s, int base, int64_t *number)
{
	int64_t v = 0;

	if (s.n == 0)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		int digit = digit_of(s.p[i]);

		if (digit >= base || __builtin_mul_overflow(v, (int64_t)base, &v) ||
		    __builtin_add_overflow(v, (int64_t)digit, &v))
			return false;
	}
	*number = v;
	return true;
}

/* A leading 0 means octal, as in C: unix_socket_mode is written so, and so may all others. */
static bool read_unsigned(struct slice s, int64_t *number)
{
	if (s.n > 2 && s.p[0] == '0' && (s.p[1] == 'x' || s.p[1] == 'X'))
		return read_digits((struct slice){s.p + 2, s.n - 2}, 16, number);
	return read_digits(s, s.n > 1 && s.p[0] == '0' ? 8 : 10, number);
}

static bool take_sign(struct slice *s)
{
	if (s->n == 0 || (s->p[0] != '-' && s->p[0] != '+'))
		return false;
	s->p++;
	s->n--;
	return s->p[-1] == '-';
}

static bool read_integer(struct slice s, int64_t *number)
{
	bool negative = take_sign(&s);

	if (!read_unsigned(s, number))
		return false;
	if (negative)
		*number = -*number;
	return true;
}

/* 777 is refused: in existing files it is the decimal number, and whoever writes it means the octal one. */
static bool read_octal(struct slice s, int64_t *number)
{
	return s.n > 0 && s.p[0] == '0' && read_digits(s, 8, number);
}

static struct slice take_digits(struct slice *s)
{
	struct slice digits = {s->p, 0};

	while (digits.n < s->n && s->p[digits.n] >= '0' && s->p[digits.n] <= '9')
		digits.n++;
	s->p += digits.n;
	s->n -= digits.n;
	return digits;
}

static bool find_unit(const struct unit *units, struct slice name, int64_t *factor)
{
	for (const struct unit *u = units; u->name != NULL; u++) {
		if (slice_is_nocase(name, u->name)) {
			*factor = u->factor;
			return true;
		}
	}
	return false;
}

/* The fraction of a unit, cut below the microsecond. */
static int64_t fraction_us(struct slice digits, int64_t unit)
{
	int64_t numerator = 0, denominator = 1;

	for (size_t i = 0; i < digits.n && i < 6; i++) {
		numerator = numerator * 10 + (digits.p[i] - '0');
		denominator *= 10;
	}
	return numerator * unit / denominator;
}

/* A number, perhaps with a fraction and a unit, in microseconds; `unit` is the one of a plain number. */
static bool read_time(struct slice s, int64_t unit, int64_t *us)
{
	bool negative = take_sign(&s);
	struct slice whole = take_digits(&s), fraction = {NULL, 0};
	int64_t v = 0;

	if (s.n > 0 && s.p[0] == '.') {
		s.p++;
		s.n--;
		fraction = take_digits(&s);
	}
	if (whole.n + fraction.n == 0 || (whole.n > 0 && !read_digits(whole, 10, &v)))
		return false;
	s = slice_trim(s);
	if (s.n > 0 && !find_unit(time_units, s, &unit))
		return false;
	if (__builtin_mul_overflow(v, unit, &v) || __builtin_add_overflow(v, fraction_us(fraction, unit), &v))
		return false;
	*us = negative ? -v : v;
	return true;
}

static bool read_milliseconds(struct slice s, int64_t *number)
{
	if (!read_time(s, 1000, number) || *number % 1000 != 0)
		return false;
	*number /= 1000;
	return true;
}

static bool read_size(struct slice s, int64_t *bytes)
{
	struct slice digits = take_digits(&s);
	int64_t unit = 1;

	if (!read_digits(digits, 10, bytes))
		return false;
	s = slice_trim(s);
	if (s.n > 0 && !find_unit(size_units, s, &unit))
		return false;
	return !__builtin_mul_overflow(*bytes, unit, bytes);
}

static bool read_choice(const struct setting_info *info, struct slice s, int64_t *number)
{
	for (int i = 0; info->words[i] != NULL; i++) {
		if (slice_is_nocase(s, info->words[i])) {
			*number = i;
			return true;
		}
	}
	return false;
}

static bool read_number(const struct setting_info *info, struct slice s, int64_t *number)
{
	switch (info->type) {
	case SETTING_TYPE_boolean:
		return read_boolean(s, number);
	case SETTING_TYPE_integer:
		return read_integer(s, number);
	case SETTING_TYPE_octal:
		return read_octal(s, number);
	case SETTING_TYPE_duration:
		return read_time(s, SECOND, number);
	case SETTING_TYPE_milliseconds:
		return read_milliseconds(s, number);
	case SETTING_TYPE_size:
		return read_size(s, number);
	case SETTING_TYPE_choice:
		return read_choice(info, s, number);
	case SETTING_TYPE_string:
		break;
	}
	return false;
}

static void print_seconds(int64_t us, struct strbuf *out)
{
	char fraction[8];
	struct strbuf digits;

	strbuf_addf(out, "%lld", (long long)(us / SECOND));
	if (us % SECOND == 0)
		return;
	strbuf_init_fixed(&digits, fraction, sizeof(fraction));
	strbuf_addf(&digits, ".%06d", (int)(us % SECOND));
	while (digits.p[digits.n - 1] == '0')
		digits.n--;
	strbuf_add_slice(out, strbuf_slice(&digits));
}

static void say_words(const struct setting_info *info, struct strbuf *error)
{
	for (int i = 0; i <= info->max; i++)
		strbuf_addf(error, "%s%s", i > 0 ? ", " : "", info->words[i]);
}

static void say_accepted(const struct setting_info *info, struct strbuf *error)
{
	strbuf_add_str(error, "; accepted: ");
	switch (info->type) {
	case SETTING_TYPE_boolean:
		strbuf_add_str(error, "0, 1, on, off, yes, no, true, false");
		break;
	case SETTING_TYPE_integer:
		strbuf_addf(error, "an integer from %lld to %lld", (long long)info->min, (long long)info->max);
		break;
	case SETTING_TYPE_octal:
		strbuf_addf(error, "an octal number with a leading 0, up to %04llo", (unsigned long long)info->max);
		break;
	case SETTING_TYPE_duration:
		strbuf_add_str(error, "a number of seconds, or one with a unit (us, ms, s, min, h, d), from ");
		print_seconds(info->min, error);
		strbuf_addf(error, " to %lld seconds", (long long)(info->max / SECOND));
		break;
	case SETTING_TYPE_milliseconds:
		strbuf_addf(error, "a number of milliseconds, or one with a unit (ms, s, min, h, d), from %lld to %lld"
			    " milliseconds", (long long)info->min, (long long)info->max);
		break;
	case SETTING_TYPE_size:
		strbuf_addf(error, "a number of bytes, or one with a unit (B, kB, MB, GB, TB), from %lld to %lld",
			    (long long)info->min, (long long)info->max);
		break;
	case SETTING_TYPE_choice:
		say_words(info, error);
		break;
	case SETTING_TYPE_string:
		strbuf_add_str(error, "text");
		break;
	}
}

static const char *what_it_is_not(const struct setting_info *info)
{
	switch (info->type) {
	case SETTING_TYPE_boolean:
		return "not a switch";
	case SETTING_TYPE_integer:
		return "not an integer";
	case SETTING_TYPE_octal:
		return "not an octal number";
	case SETTING_TYPE_duration:
	case SETTING_TYPE_milliseconds:
		return "not a duration";
	case SETTING_TYPE_size:
		return "not a size";
	case SETTING_TYPE_choice:
	case SETTING_TYPE_string:
		break;
	}
	return "unknown value";
}

static bool refuse(const struct setting_info *info, const char *what, struct strbuf *error)
{
	strbuf_add_str(error, what);
	say_accepted(info, error);
	return false;
}

static bool parse(const struct setting_info *info, struct slice value, struct setting_value *parsed,
		  struct strbuf *error)
{
	if (info->type == SETTING_TYPE_string) {
		if (value.n > 0 && memchr(value.p, '\0', value.n) != NULL)
			return refuse(info, "contains a NUL byte", error);
		parsed->text = value;
		return true;
	}
	if (!read_number(info, slice_trim(value), &parsed->number))
		return refuse(info, what_it_is_not(info), error);
	if (info->type == SETTING_TYPE_choice && parsed->number > info->max)
		return refuse(info, "not supported by this build yet", error);
	if (parsed->number < info->min || parsed->number > info->max)
		return refuse(info, "out of range", error);
	return true;
}

bool setting_is_console(struct slice database)
{
	return slice_is(database, "pgbouncer") || slice_is(database, "pgsluice");
}

bool setting_parse(enum setting_id id, struct slice value, struct setting_value *parsed, struct strbuf *error)
{
	*parsed = (struct setting_value){0, {NULL, 0}};
	if (id == SETTING_auth_dbname && setting_is_console(value)) {
		strbuf_add_str(error, "the admin console has no users; accepted: the name of another database");
		return false;
	}
	return parse(&infos[id], value, parsed, error);
}

bool setting_check(enum setting_id id, struct slice value, struct strbuf *error)
{
	struct setting_value parsed;
	char unread[1];
	struct strbuf nowhere;

	strbuf_init_fixed(&nowhere, unread, sizeof(unread));
	return setting_parse(id, value, &parsed, error != NULL ? error : &nowhere);
}

bool setting_is_negative(enum setting_id id, struct slice value)
{
	int64_t number;

	if (infos[id].type != SETTING_TYPE_integer && infos[id].type != SETTING_TYPE_duration)
		return false;
	return read_number(&infos[id], slice_trim(value), &number) && number < 0;
}

/* --- the struct --- */

static const void *slot_of(const struct settings *s, enum setting_id id)
{
	return (const char *)s + offsets[id];
}

void setting_store(struct settings *s, enum setting_id id, const struct setting_value *value, struct arena *arena)
{
	void *slot = (char *)s + offsets[id];

	switch (infos[id].type) {
	case SETTING_TYPE_boolean:
		*(bool *)slot = value->number != 0;
		break;
	case SETTING_TYPE_integer:
	case SETTING_TYPE_octal:
	case SETTING_TYPE_duration:
	case SETTING_TYPE_milliseconds:
	case SETTING_TYPE_size:
		*(int64_t *)slot = value->number;
		break;
	case SETTING_TYPE_choice:
		*(int *)slot = (int)value->number;
		break;
	case SETTING_TYPE_string:
		*(const char **)slot = arena_copy(arena, value->text);
		break;
	}
}

/* That each default is valid is what a unit test makes sure of. */
struct setting_value setting_default(enum setting_id id)
{
	struct setting_value value = {0, {NULL, 0}};
	char unread[1];
	struct strbuf nowhere;

	strbuf_init_fixed(&nowhere, unread, sizeof(unread));
	parse(&infos[id], slice_of(infos[id].default_text), &value, &nowhere);
	return value;
}

void settings_init(struct settings *s, struct arena *arena)
{
	for (int i = 0; i < SETTING_COUNT; i++) {
		struct setting_value value = setting_default((enum setting_id)i);

		setting_store(s, (enum setting_id)i, &value, arena);
	}
}

int64_t setting_number(const struct settings *s, enum setting_id id)
{
	switch (infos[id].type) {
	case SETTING_TYPE_boolean:
		return *(const bool *)slot_of(s, id);
	case SETTING_TYPE_integer:
	case SETTING_TYPE_octal:
	case SETTING_TYPE_duration:
	case SETTING_TYPE_milliseconds:
	case SETTING_TYPE_size:
		return *(const int64_t *)slot_of(s, id);
	case SETTING_TYPE_choice:
		return *(const int *)slot_of(s, id);
	case SETTING_TYPE_string:
		break;
	}
	return 0;
}

const char *setting_string(const struct settings *s, enum setting_id id)
{
	return *(const char *const *)slot_of(s, id);
}

struct setting_value setting_value(const struct settings *s, enum setting_id id)
{
	if (infos[id].type == SETTING_TYPE_string)
		return (struct setting_value){0, slice_of(setting_string(s, id))};
	return (struct setting_value){setting_number(s, id), {NULL, 0}};
}

void setting_print_value(enum setting_id id, const struct setting_value *value, struct strbuf *out)
{
	switch (infos[id].type) {
	case SETTING_TYPE_boolean:
	case SETTING_TYPE_integer:
	case SETTING_TYPE_milliseconds:
	case SETTING_TYPE_size:
		strbuf_addf(out, "%lld", (long long)value->number);
		break;
	case SETTING_TYPE_octal:
		strbuf_addf(out, "%04llo", (unsigned long long)value->number);
		break;
	case SETTING_TYPE_duration:
		print_seconds(value->number, out);
		break;
	case SETTING_TYPE_choice:
		strbuf_add_str(out, setting_choice_word(id, (int)value->number));
		break;
	case SETTING_TYPE_string:
		if (infos[id].secret && value->text.n > 0)
			strbuf_add_str(out, "********");
		else
			strbuf_add_slice(out, value->text);
		break;
	}
}

void setting_print(const struct settings *s, enum setting_id id, struct strbuf *out)
{
	struct setting_value value = setting_value(s, id);

	setting_print_value(id, &value, out);
}

static bool has_value(const struct settings *s, enum setting_id id, const struct setting_value *value)
{
	if (infos[id].type == SETTING_TYPE_string)
		return slice_is(value->text, setting_string(s, id));
	return setting_number(s, id) == value->number;
}

bool setting_is_default(const struct settings *s, enum setting_id id)
{
	struct setting_value value = setting_default(id);

	return has_value(s, id, &value);
}

bool setting_equal(const struct settings *a, const struct settings *b, enum setting_id id)
{
	struct setting_value value = setting_value(b, id);

	return has_value(a, id, &value);
}

const char *setting_choice_word(enum setting_id id, int value)
{
	const char *const *words = infos[id].words;

	if (words == NULL || value < 0)
		return NULL;
	for (int i = 0; words[i] != NULL; i++) {
		if (i == value)
			return words[i];
	}
	return NULL;
}
