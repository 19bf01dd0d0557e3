#include "conf/userlist.h"

#include <stdlib.h>

#include "conf/names.h"
#include "conf/problems.h"
#include "conf/textfile.h"

#define LONGEST_NAME 127
#define LONGEST_SECRET 65531

/* Bytes; a longer one cannot be read when somebody logs in (SCRAM_SALT_MAX). */
#define LONGEST_SALT 128

struct userlist {
	struct arena *arena;
	struct names *names;
	struct userlist_entry **entries;
	size_t n, room;
};

struct userlist *userlist_new(struct arena *arena)
{
	struct userlist *list = arena_alloc(arena, sizeof(*list));

	list->arena = arena;
	list->names = names_new(arena);
	return list;
}

static bool is_md5(struct slice secret)
{
	if (secret.n != 35 || memcmp(secret.p, "md5", 3) != 0)
		return false;
	for (size_t i = 3; i < secret.n; i++) {
		if (strchr("0123456789abcdef", secret.p[i]) == NULL)
			return false;
	}
	return true;
}

/* What base64 of n bytes looks like; n 0 allows any length above zero. */
static bool is_base64(struct slice text, size_t n)
{
	size_t padding = 0;

	if (text.n == 0 || text.n % 4 != 0)
		return false;
	while (padding < 2 && text.p[text.n - 1 - padding] == '=')
		padding++;
	for (size_t i = 0; i < text.n - padding; i++) {
		char c = text.p[i];

		if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/'))
			return false;
	}
	return n == 0 || text.n / 4 * 3 - padding == n;
}

/* SCRAM-SHA-256$iterations:salt$stored:server; the keys are SHA-256 sums. */
static bool is_scram(struct slice secret)
{
	struct slice method, first, second, part;
	int64_t iterations;

	return strcspn(secret.p, " \t\n\v\f\r") == secret.n &&
	       slice_split(&secret, '$', &method) && slice_is(method, "SCRAM-SHA-256") &&
	       slice_split(&secret, '$', &first) && slice_split(&secret, '$', &second) &&
	       !slice_split(&secret, '$', &part) &&
	       slice_split(&first, ':', &part) && slice_to_int64(part, &iterations) && iterations > 0 &&
	       iterations <= INT32_MAX && is_base64(first, 0) &&
	       slice_split(&second, ':', &part) && is_base64(part, 32) && is_base64(second, 32);
}

/* Of a secret that is_scram(). */
static bool has_long_salt(const char *secret)
{
	const char *salt = strchr(secret, ':') + 1;
	size_t n = strcspn(salt, "$"), padding = 0;

	while (padding < n && salt[n - 1 - padding] == '=')
		padding++;
	return n / 4 * 3 - padding > LONGEST_SALT;
}

enum secret_type secret_type_of(const char *secret)
{
	struct slice s = slice_of(secret);

	if (s.n == 0)
		return SECRET_NONE;
	if (is_md5(s))
		return SECRET_MD5;
	return is_scram(s) ? SECRET_SCRAM : SECRET_PLAIN;
}

/* Takes a "quoted" text off *line, and the blanks before it. */
static bool take_quoted(struct slice *line, struct arena *arena, struct slice *text)
{
	char *p;
	size_t n = 0, i;

	*line = slice_trim(*line);
	if (line->n == 0 || line->p[0] != '"')
		return false;
	p = arena_alloc(arena, line->n);
	for (i = 1; i < line->n; i++) {
		if (line->p[i] == '"' && (i + 1 == line->n || line->p[i + 1] != '"'))
			break;
		if (line->p[i] == '"')
			i++;
		p[n++] = line->p[i];
	}
	if (i >= line->n)
		return false;
	line->p += i + 1;
	line->n -= i + 1;
	*text = (struct slice){p, n};
	return true;
}

static struct userlist_entry *new_entry(struct userlist *list, struct slice name)
{
	struct userlist_entry *entry = arena_alloc(list->arena, sizeof(*entry));

	if (list->n == list->room) {
		size_t room = list->room > 0 ? list->room * 2 : 64;
		struct userlist_entry **entries = arena_alloc(list->arena, room * sizeof(struct userlist_entry *));

		if (list->n > 0)
			memcpy(entries, list->entries, list->n * sizeof(struct userlist_entry *));
		list->entries = entries;
		list->room = room;
	}
	entry->name = arena_copy(list->arena, name);
	list->entries[list->n++] = entry;
	names_add(list->names, entry->name, entry);
	return entry;
}

/* What is wrong with a line, or NULL. A user who is listed twice has the later secret. */
static const char *add_line(struct userlist *list, struct slice line, struct arena *scratch)
{
	struct userlist_entry *entry;
	struct slice name, secret;
	const char *text;

	if (memchr(line.p, '\0', line.n) != NULL)
		return "contains a NUL byte";
	if (!take_quoted(&line, scratch, &name) || !take_quoted(&line, scratch, &secret))
		return "no entry of a user; accepted: \"name\" \"secret\", with \"\" for a quote inside";
	if (name.n > LONGEST_NAME)
		return "the name is too long; accepted: at most 127 bytes";
	if (secret.n > LONGEST_SECRET)
		return "the secret is too long; accepted: at most 65531 bytes";
	text = arena_copy(list->arena, secret);
	if (secret_type_of(text) == SECRET_SCRAM && has_long_salt(text))
		return "the salt of the SCRAM secret is too long; accepted: at most 128 bytes";
	entry = names_find(list->names, name);
	if (entry == NULL)
		entry = new_entry(list, name);
	entry->secret = text;
	entry->type = secret_type_of(entry->secret);
	return NULL;
}

static void read_lines(struct userlist *list, const char *file, struct arena *scratch, struct conf_problems *problems)
{
	struct conf_place at = {file, 0};
	const char *error;
	struct slice text, line;

	if (!textfile_read(file, scratch, &text, &error)) {
		conf_error(problems, at, "auth_file cannot be read: %s", error);
		return;
	}
	while (textfile_line(&text, &line)) {
		at.line++;
		line = slice_trim(line);
		if (line.n == 0 || line.p[0] == ';')
			continue;
		error = add_line(list, line, scratch);
		if (error != NULL)
			conf_error(problems, at, "%s", error);
	}
}

void userlist_read(struct userlist *list, const char *file, struct conf_problems *problems)
{
	struct arena *scratch = arena_new();

	read_lines(list, file, scratch, problems);
	arena_free(scratch);
}

const struct userlist_entry *userlist_find(const struct userlist *list, struct slice name)
{
	return names_find(list->names, name);
}

size_t userlist_count(const struct userlist *list)
{
	return list->n;
}

const struct userlist_entry *userlist_at(const struct userlist *list, size_t i)
{
	return list->entries[i];
}

static bool fits(const char *text, size_t longest)
{
	return strlen(text) <= longest && strchr(text, '\n') == NULL;
}

static void put_quoted(struct strbuf *lines, const char *text)
{
	strbuf_add_char(lines, '"');
	for (; *text != '\0'; text++) {
		if (*text == '"')
			strbuf_add_char(lines, '"');
		strbuf_add_char(lines, *text);
	}
	strbuf_add_char(lines, '"');
}

bool userlist_put(struct strbuf *lines, const char *name, const char *secret)
{
	if (!fits(name, LONGEST_NAME) || !fits(secret, LONGEST_SECRET))
		return false;
	put_quoted(lines, name);
	strbuf_add_char(lines, ' ');
	put_quoted(lines, secret);
	strbuf_add_char(lines, '\n');
	return true;
}
