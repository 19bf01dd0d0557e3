/*
 * The settings, as a manual page, as a file with all of them, and as tables of Markdown.
 */
#include "parts.h"
#include "roff.h"
#include "themes.h"

#include "conf/overrides.h"

#define SECOND INT64_C(1000000)
#define COMMENT_WIDTH 96

/* --- what may be said of a setting in a few words --- */

static void say_words(const struct setting_info *info, struct strbuf *out)
{
	for (int i = 0; i <= info->max; i++)
		strbuf_addf(out, "%s%s", i == 0 ? "" : i < info->max ? ", " : " or ", info->words[i]);
}

/* Bounds that everything has go without saying. */
static void say_range(int64_t min, int64_t max, int64_t no_bound, struct strbuf *out)
{
	if (max < no_bound)
		strbuf_addf(out, " from %lld to %lld", (long long)min, (long long)max);
	else if (min != 0)
		strbuf_addf(out, " from %lld", (long long)min);
}

static void say_type(const struct setting_info *info, struct strbuf *out)
{
	switch (info->type) {
	case SETTING_TYPE_boolean:
		strbuf_add_str(out, "boolean");
		break;
	case SETTING_TYPE_integer:
		strbuf_add_str(out, "integer");
		say_range(info->min, info->max, INT32_MAX, out);
		break;
	case SETTING_TYPE_octal:
		strbuf_add_str(out, "octal number");
		break;
	case SETTING_TYPE_duration:
		strbuf_add_str(out, "time");
		say_range(info->min / SECOND, info->max / SECOND, INT32_MAX, out);
		break;
	case SETTING_TYPE_milliseconds:
		strbuf_add_str(out, "time in milliseconds");
		break;
	case SETTING_TYPE_size:
		strbuf_add_str(out, "size");
		break;
	case SETTING_TYPE_string:
		strbuf_add_str(out, "text");
		break;
	case SETTING_TYPE_choice:
		say_words(info, out);
		break;
	}
}

/* Where else it may stand, and as what. */
static void say_scope(enum setting_id id, struct strbuf *out)
{
	static const struct {
		enum setting_scope scope;
		const char *section;
	} sections[] = {{SCOPE_DATABASE, "[databases]"}, {SCOPE_USER, "[users]"}, {SCOPE_PEER, "[peers]"}};
	const struct setting_info *info = setting_info(id);
	const char *before = "; also in ";

	for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++) {
		if ((info->scope & sections[i].scope) == 0)
			continue;
		strbuf_addf(out, "%s%s", before, sections[i].section);
		before = ", ";
	}
	if (info->entity_key != NULL)
		strbuf_addf(out, " as %s", info->entity_key);
	if (info->alias != NULL)
		strbuf_addf(out, "; another name for it: %s", info->alias);
}

static void describe(enum setting_id id, struct strbuf *out)
{
	say_type(setting_info(id), out);
	if (setting_info(id)->when == WHEN_START)
		strbuf_add_str(out, "; takes a restart");
	say_scope(id, out);
}

static const char *default_of(enum setting_id id)
{
	const char *text = setting_info(id)->default_text;

	return text[0] != '\0' ? text : "empty";
}

/* --- pgsluice.5 --- */

static void put_setting(enum setting_id id, FILE *out)
{
	struct strbuf words;

	strbuf_init(&words);
	describe(id, &words);
	roff_item(setting_info(id)->name, "", setting_info(id)->doc, out);
	fputs(".br\n", out);
	roff_prose(words.p, out);
	fputs(".br\nDefault:\n", out);
	roff_prose(default_of(id), out);
	strbuf_fini(&words);
}

void part_settings(FILE *out)
{
	const struct theme *theme;

	for (size_t i = 0; (theme = theme_at(i)) != NULL; i++) {
		fprintf(out, ".SS %s\n", theme->title);
		for (const enum setting_id *id = theme->settings; *id != SETTING_COUNT; id++)
			put_setting(*id, out);
	}
}

/* The keys of one kind of entry that stand for settings: they are described where those are. */
static void put_keys(enum setting_scope scope, FILE *out)
{
	const char *before = "";

	for (int i = 0; i < SETTING_ENTITY_COUNT; i++) {
		if ((setting_info((enum setting_id)i)->scope & scope) == 0)
			continue;
		fprintf(out, "%s\\fB%s\\fR", before, overrides_key((enum setting_id)i));
		before = ",\n";
	}
	fputs(".\n", out);
}

void part_database_keys(FILE *out)
{
	put_keys(SCOPE_DATABASE, out);
}

void part_user_keys(FILE *out)
{
	put_keys(SCOPE_USER, out);
}

void part_peer_keys(FILE *out)
{
	put_keys(SCOPE_PEER, out);
}

/* --- pgsluice.ini --- */

/* Lines of a comment, broken at blanks. */
static void put_comment(const char *text, FILE *out)
{
	while (*text != '\0') {
		size_t n = strlen(text);

		if (n > COMMENT_WIDTH)
			for (n = COMMENT_WIDTH; n > 0 && text[n] != ' '; n--)
				;
		fprintf(out, ";; %.*s\n", (int)n, text);
		text += n;
		text += *text == ' ';
	}
}

static void put_ini_setting(enum setting_id id, FILE *out)
{
	const struct setting_info *info = setting_info(id);
	struct strbuf words;

	strbuf_init(&words);
	describe(id, &words);
	fputc('\n', out);
	put_comment(info->doc, out);
	put_comment(words.p, out);
	fprintf(out, ";%s =%s%s\n", info->name, info->default_text[0] != '\0' ? " " : "", info->default_text);
	strbuf_fini(&words);
}

void part_ini_settings(FILE *out)
{
	const struct theme *theme;

	for (size_t i = 0; (theme = theme_at(i)) != NULL; i++) {
		fprintf(out, "\n;;;\n;;; %s\n;;;\n", theme->title);
		for (const enum setting_id *id = theme->settings; *id != SETTING_COUNT; id++)
			put_ini_setting(*id, out);
	}
}

/* --- settings.md --- */

/* A cell of something to type; empty if that is. */
static void put_literal(const char *text, FILE *out)
{
	if (text[0] != '\0')
		fprintf(out, " `%s` |", text);
	else
		fputs(" |", out);
}

/* A cell of sentences: what is neither emphasis nor HTML in them is not to become that. */
static void put_sentences(const char *text, FILE *out)
{
	fputc(' ', out);
	for (; *text != '\0'; text++) {
		if (strchr("*<|", *text) != NULL)
			fputc('\\', out);
		fputc(*text, out);
	}
	fputs(" |", out);
}

static void put_row(enum setting_id id, FILE *out)
{
	const struct setting_info *info = setting_info(id);
	struct strbuf words;

	strbuf_init(&words);
	describe(id, &words);
	fputc('|', out);
	put_literal(info->name, out);
	put_literal(info->default_text, out);
	put_sentences(words.p, out);
	put_sentences(info->doc, out);
	fputc('\n', out);
	strbuf_fini(&words);
}

void part_settings_tables(FILE *out)
{
	const struct theme *theme;

	for (size_t i = 0; (theme = theme_at(i)) != NULL; i++) {
		fprintf(out, "%s## %s\n\n| setting | default | what it takes | |\n|---|---|---|---|\n", i > 0 ? "\n" : "",
			theme->title);
		for (const enum setting_id *id = theme->settings; *id != SETTING_COUNT; id++)
			put_row(*id, out);
	}
}
