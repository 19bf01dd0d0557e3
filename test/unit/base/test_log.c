#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <regex.h>
#include <stdio.h>
#include <sys/stat.h>
#include <syslog.h>

#include "base/log.h"

#include "../conf/tempdir.h"

/* Stands in for the C library's: what the last call to syslog() would have said. */
static char told_syslog[16384];
static int told_priority;

static void keep_syslog(int priority, const char *format, va_list ap)
{
	told_priority = priority;
	vsnprintf(told_syslog, sizeof(told_syslog), format, ap);
}

#if defined __USE_FORTIFY_LEVEL && __USE_FORTIFY_LEVEL > 0
#undef syslog
void __syslog_chk(int priority, int flag, const char *format, ...)
{
	va_list ap;

	(void)flag;
	va_start(ap, format);
	keep_syslog(priority, format, ap);
	va_end(ap);
}
#else
void syslog(int priority, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	keep_syslog(priority, format, ap);
	va_end(ap);
}
#endif

static char text[65536];

/* All of a file, as text. */
static const char *read_file(const char *name)
{
	FILE *f = fopen(name, "r");
	size_t n = f == NULL ? 0 : fread(text, 1, sizeof(text) - 1, f);

	text[n] = '\0';
	if (f != NULL)
		fclose(f);
	return text;
}

static bool matches(const char *line, const char *pattern)
{
	regex_t re;
	bool ok;

	if (regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB) != 0)
		abort();
	ok = regexec(&re, line, 0, NULL, 0) == 0;
	regfree(&re);
	return ok;
}

static void configure(struct log_options o)
{
	const char *error;

	o.quiet = true;
	if (o.file == NULL)
		o.file = tempdir_write("log", "");
	assert_true(log_configure(&o, &error));
}

static void a_line_has_the_format_of_pgbouncer(void **state)
{
	char pattern[256];

	(void)state;
	configure((struct log_options){0});
	log_info("stats: %d xacts/s", 5);
	snprintf(pattern, sizeof(pattern),
		 "^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3} [A-Z0-9+-]+ \\[%d\\] LOG stats: 5 xacts/s\n$",
		 (int)getpid());
	assert_true(matches(read_file("log"), pattern));
}

static void each_level_has_its_name(void **state)
{
	(void)state;
	configure((struct log_options){.verbose = 2});
	log_fatal("a");
	log_error("b");
	log_warning("c");
	log_info("d");
	log_debug("e");
	log_write(LOG_LEVEL_NOISE, "f");
	assert_true(matches(read_file("log"), "] FATAL a\n.*] ERROR b\n.*] WARNING c\n.*] LOG d\n.*] DEBUG e\n.*] NOISE f\n$"));
}

static void verbosity_decides_about_debug_and_noise(void **state)
{
	(void)state;
	configure((struct log_options){.verbose = 0});
	assert_true(log_wants(LOG_LEVEL_LOG));
	assert_false(log_wants(LOG_LEVEL_DEBUG));
	log_debug("hidden");
	log_write(LOG_LEVEL_NOISE, "hidden");
	assert_string_equal(read_file("log"), "");
	configure((struct log_options){.verbose = 1});
	assert_true(log_wants(LOG_LEVEL_DEBUG));
	assert_false(log_wants(LOG_LEVEL_NOISE));
}

static void write_with_prefix(const char *prefix, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void write_with_prefix(const char *prefix, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	log_writev(LOG_LEVEL_LOG, prefix, format, ap);
	va_end(ap);
}

static void a_prefix_stands_before_the_text_and_is_no_format(void **state)
{
	(void)state;
	configure((struct log_options){0});
	write_with_prefix("C-00f3: shop/%s@10.0.0.7:5121 ", "closing because: %s", "x");
	assert_true(matches(read_file("log"), "] LOG C-00f3: shop/%s@10.0.0.7:5121 closing because: x\n$"));
}

static void control_characters_cannot_forge_a_line(void **state)
{
	(void)state;
	configure((struct log_options){0});
	write_with_prefix("u\nser ", "%s", "a\nb\r\t\x1b[2J\x7f \xc3\xa4");
	assert_true(matches(read_file("log"),
			    "] LOG u\\\\x0aser a\\\\x0ab\\\\x0d\\\\x09\\\\x1b\\[2J\\\\x7f \xc3\xa4\n$"));
	assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
}

static void syslog_gets_the_same_text_without_control_characters(void **state)
{
	(void)state;
	configure((struct log_options){.syslog = true, .syslog_ident = "pgsluice", .syslog_facility = "local3"});
	write_with_prefix("C-1: ", "%s", "a\nb %s");
	assert_string_equal(told_syslog, "C-1: a\\x0ab %s");
	assert_int_equal(told_priority, LOG_INFO);
	log_fatal("end");
	assert_int_equal(told_priority, LOG_CRIT);
}

static void a_line_that_is_too_long_is_cut_not_lost(void **state)
{
	static char *line;

	(void)state;
	configure((struct log_options){0});
	line = malloc(100000);
	memset(line, 'x', 99999);
	line[99999] = '\0';
	log_info("%s", line);
	memset(line, '\n', 99999);
	log_info("%s", line);
	free(line);
	log_info("next");
	assert_true(matches(read_file("log"), "^[^\n]*] LOG x{2000}[^\n]*\n[^\n]*] LOG (\\\\x0a)+[^\n]*\n[^\n]*] LOG next\n$"));
}

static void the_file_is_opened_anew_even_under_the_same_name(void **state)
{
	(void)state;
	configure((struct log_options){0});
	log_info("before");
	assert_int_equal(rename("log", tempdir_write("log.1", "")), 0);
	log_info("still there");
	configure((struct log_options){.file = "log"});
	log_info("after");
	assert_true(matches(read_file("log.1"), "before\n.*still there\n$"));
	assert_true(matches(read_file("log"), "LOG after\n$"));
	assert_false(matches(text, "before"));
}

static void a_file_is_appended_to(void **state)
{
	(void)state;
	configure((struct log_options){.file = tempdir_write("log", "former\n")});
	log_info("new");
	assert_true(matches(read_file("log"), "^former\n.*LOG new\n$"));
}

static void a_file_that_cannot_be_opened_leaves_the_former_options_in_force(void **state)
{
	const struct log_options bad = {.file = "no/such/folder/log", .verbose = 2};
	const char *error = NULL;

	(void)state;
	configure((struct log_options){0});
	assert_false(log_configure(&bad, &error));
	assert_string_equal(error, "No such file or directory");
	assert_false(log_wants(LOG_LEVEL_DEBUG));
	log_info("goes on");
	assert_true(matches(read_file("log"), "LOG goes on\n$"));
}

/* What is written to stderr while `fn` runs. */
static const char *stderr_of(void (*fn)(void))
{
	int saved = dup(STDERR_FILENO), fd = open(tempdir_write("stderr", ""), O_WRONLY | O_TRUNC);

	dup2(fd, STDERR_FILENO);
	fn();
	dup2(saved, STDERR_FILENO);
	close(fd);
	close(saved);
	return read_file("stderr");
}

static void log_loudly(void)
{
	const char *error;

	log_configure(&(struct log_options){0}, &error);
	log_info("loud");
}

static void log_quietly(void)
{
	const char *error;

	log_configure(&(struct log_options){.quiet = true}, &error);
	log_info("quiet");
}

static void stderr_gets_every_line_unless_quiet(void **state)
{
	(void)state;
	assert_true(matches(stderr_of(log_loudly), "LOG loud\n$"));
	assert_string_equal(stderr_of(log_quietly), "");
}

static int stop_logging(void **state)
{
	const char *error;

	(void)state;
	log_configure(&(struct log_options){.quiet = true}, &error);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(a_line_has_the_format_of_pgbouncer, stop_logging),
		cmocka_unit_test_teardown(each_level_has_its_name, stop_logging),
		cmocka_unit_test_teardown(verbosity_decides_about_debug_and_noise, stop_logging),
		cmocka_unit_test_teardown(a_prefix_stands_before_the_text_and_is_no_format, stop_logging),
		cmocka_unit_test_teardown(control_characters_cannot_forge_a_line, stop_logging),
		cmocka_unit_test_teardown(syslog_gets_the_same_text_without_control_characters, stop_logging),
		cmocka_unit_test_teardown(a_line_that_is_too_long_is_cut_not_lost, stop_logging),
		cmocka_unit_test_teardown(the_file_is_opened_anew_even_under_the_same_name, stop_logging),
		cmocka_unit_test_teardown(a_file_is_appended_to, stop_logging),
		cmocka_unit_test_teardown(a_file_that_cannot_be_opened_leaves_the_former_options_in_force, stop_logging),
		cmocka_unit_test_teardown(stderr_gets_every_line_unless_quiet, stop_logging),
	};

	return cmocka_run_group_tests(tests, tempdir_enter, tempdir_leave);
}
