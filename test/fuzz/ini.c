/*
 * A whole configuration, by the same way as at a reload; and the differences
 * between it and the one of the input before, as they are logged.
 */
#include "conf/conf.h"
#include "files.h"
#include "fuzz.h"

/* Messages are lines of text, whatever the file holds. */
static void must_be_lines(const struct strbuf *text)
{
	for (size_t i = 0; i < text->n; i++)
		must((uint8_t)text->p[i] >= 0x20 ? text->p[i] != 0x7f : text->p[i] == '\n');
	must(text->n == 0 || text->p[text->n - 1] == '\n');
}

static void compare(struct conf *conf)
{
	static const char text[] = "[databases]\na = host=h1 port=5433 dbname=x\n* = host=@y auth_user=u\n"
				   "[users]\nu = pool_mode=statement max_user_connections=5\n"
				   "[pgbouncer]\npool_mode = transaction\nauth_type = trust\n";
	static struct conf *other;
	struct conf_problems problems;
	struct strbuf lines;

	if (other == NULL) {
		conf_problems_init(&problems);
		other = conf_load(files_put(1, text, sizeof(text) - 1), NULL, 0, &problems);
		must(other != NULL);
		conf_problems_fini(&problems);
	}
	strbuf_init(&lines);
	conf_print_changes(other, conf, &lines);
	conf_print_changes(conf, other, &lines);
	strbuf_reset(&lines);
	conf_print_changes(conf, conf, &lines);
	must(lines.n == 0);
	strbuf_fini(&lines);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct conf_problems problems;
	struct conf *conf;

	conf_problems_init(&problems);
	conf = conf_load(files_put(0, data, size), NULL, 0, &problems);
	must((conf == NULL) == (problems.nerrors > 0));
	must_be_lines(&problems.errors);
	must_be_lines(&problems.warnings);
	if (conf != NULL)
		compare(conf);
	conf_unref(&conf);
	conf_problems_fini(&problems);
	return 0;
}
