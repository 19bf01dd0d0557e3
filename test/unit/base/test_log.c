#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <regex.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>

#include "base/clock.h"
#include "base/log.h"

#include "../conf/tempdir.h"

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

#define SYSTEM_LOG .syslog = true, .syslog_socket = "syslog", .syslog_ident = "pgsluice"

/* Stands in for the system's log: a socket in the folder, and what the last line said that came there. */
static int system_log = -1;
static char told_syslog[65536];
static int told_priority;

static void open_system_log(void)
{
	const struct sockaddr_un a = {.sun_family = AF_UNIX, .sun_path = "syslog"};

	unlink(a.sun_path);
	system_log = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	assert_true(system_log >= 0 && bind(system_log, (const struct sockaddr *)&a, sizeof(a)) == 0);
}

static void close_system_log(void)
{
	close(system_log);
	unlink("syslog");
}

/* The line after the last one that was read: its text, or "" when none has come. */
static const char *next_told(void)
{
	char line[65536];
	ssize_t n = recv(system_log, line, sizeof(line) - 1, 0);
	const char *said;

	line[n > 0 ? n : 0] = '\0';
	if (n > 0)
		assert_true(matches(line, "^<[0-9]+>[A-Z][a-z]{2} [ 0-9][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2} pgsluice\\[[0-9]+\\]: "));
	told_priority = n > 0 ? atoi(line + 1) : -1;
	said = n > 0 ? strstr(line, "]: ") + 3 : line;
	return strcpy(told_syslog, said);
}

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

/* A line about a client of the given user. */
static void write_of(const char *user, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void write_of(const char *user, const char *format, ...)
{
	const struct log_subject subject = {
		.side = LOG_SIDE_CLIENT, .object = (void *)0xf3, .database = "shop", .user = user};
	const struct log_line line = {.level = LOG_LEVEL_LOG, .subject = &subject};
	va_list ap;

	va_start(ap, format);
	log_writev(&line, format, ap);
	va_end(ap);
}

static void whom_it_is_about_stands_before_the_text_and_is_no_format(void **state)
{
	(void)state;
	configure((struct log_options){0});
	write_of("%s", "closing because: %s", "x");
	assert_true(matches(read_file("log"), "] LOG C-0xf3: shop/%s@\\(unknown\\):0 closing because: x\n$"));
}

static void control_characters_cannot_forge_a_line(void **state)
{
	(void)state;
	configure((struct log_options){0});
	write_of("u\nser", "%s", "a\nb\r\t\x1b[2J\x7f \xc3\xa4");
	assert_true(matches(read_file("log"),
			    "] LOG C-0xf3: shop/u\\\\x0aser@\\(unknown\\):0 a\\\\x0ab\\\\x0d\\\\x09\\\\x1b\\[2J\\\\x7f \xc3\xa4\n$"));
	assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
}

static void syslog_gets_the_same_text_without_control_characters(void **state)
{
	(void)state;
	open_system_log();
	configure((struct log_options){SYSTEM_LOG, .syslog_facility = "local3"});
	write_of("ann", "%s", "a\nb %s");
	assert_string_equal(next_told(), "C-0xf3: shop/ann@(unknown):0 a\\x0ab %s");
	assert_int_equal(told_priority, LOG_LOCAL3 | LOG_INFO);
	log_fatal("end");
	assert_string_equal(next_told(), "end");
	assert_int_equal(told_priority, LOG_LOCAL3 | LOG_CRIT);
	close_system_log();
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

static void a_full_disk_is_told_to_all_others_and_afterwards_to_itself(void **state)
{
	(void)state;
	open_system_log();
	configure((struct log_options){SYSTEM_LOG, .file = "/dev/full"});
	log_info("one");
	assert_string_equal(next_told(), "one");
	assert_string_equal(next_told(), "logfile cannot be written to, lines are lost: No space left on device");
	log_info("two");
	assert_string_equal(next_told(), "two");
	close_system_log();
	configure((struct log_options){.file = tempdir_write("log", "")});
	log_info("three");
	/* The news itself was lost too. */
	assert_true(matches(read_file("log"),
			    "^[^\n]*LOG three\n[^\n]*WARNING logfile is written to again, lines lost before: 3\n$"));
	log_info("four");
	assert_true(matches(read_file("log"), "lost before: 3\n[^\n]*LOG four\n$"));
}

static void a_system_log_that_is_gone_is_told_and_found_again(void **state)
{
	(void)state;
	open_system_log();
	configure((struct log_options){SYSTEM_LOG});
	log_info("one");
	close_system_log();
	log_info("two");
	log_info("three");
	assert_true(matches(read_file("log"), "LOG two\n[^\n]*WARNING syslog cannot be written to, lines are lost: [^\n]*\n"
					      "[^\n]*LOG three\n$"));
	open_system_log();
	log_info("four");
	assert_string_equal(next_told(), "four");
	assert_string_equal(next_told(), "syslog is written to again, lines lost before: 3");
	close_system_log();
}

static void a_system_log_that_is_started_anew_loses_nothing(void **state)
{
	(void)state;
	open_system_log();
	configure((struct log_options){SYSTEM_LOG});
	log_info("one");
	close_system_log();
	open_system_log();
	log_info("two");
	assert_string_equal(next_told(), "two");
	assert_string_equal(next_told(), "");
	close_system_log();
}

/* syslog() would wait here for ever. */
static void a_system_log_that_nobody_reads_holds_nobody_up(void **state)
{
	(void)state;
	open_system_log();
	configure((struct log_options){SYSTEM_LOG});
	for (int i = 0; i < 10000; i++)
		log_info("line");
	assert_true(matches(read_file("log"), "syslog cannot be written to, lines are lost: "));
	while (*next_told() != '\0')
		;
	log_info("heard again");
	assert_string_equal(next_told(), "heard again");
	close_system_log();
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

static void json_goes_to_all_of_them(void **state)
{
	(void)state;
	open_system_log();
	configure((struct log_options){SYSTEM_LOG, .format = LOG_FORMAT_JSON});
	log_info("one \"%s\"", "\xff");
	assert_true(matches(read_file("log"), "^\\{\"time\":[^\n]*\"message\":\"one [^\n]*\\}\n$"));
	text[strlen(text) - 1] = '\0';
	assert_string_equal(next_told(), text);
	close_system_log();
}

/* Six bytes for each of the message, and all names as long as they may be. */
static void json_has_room_for_the_longest_message(void **state)
{
	char long_name[LOG_LINE_TEXT_MAX + 1], *message = malloc(100000);

	(void)state;
	memset(long_name, 1, sizeof(long_name) - 1);
	long_name[sizeof(long_name) - 1] = '\0';
	memset(message, 1, 99999);
	message[99999] = '\0';
	configure((struct log_options){.format = LOG_FORMAT_JSON});
	write_of(long_name, "%s", message);
	free(message);
	assert_true(strlen(read_file("log")) > 6 * 8000);
	assert_true(matches(text, "(\\\\u0001)\"\\}\n$"));
}

static void a_repeated_warning_is_told_when_the_log_is_flushed(void **state)
{
	(void)state;
	configure((struct log_options){.fold_us = 1000000});
	for (int i = 0; i < 5; i++)
		log_warning("again");
	assert_true(matches(read_file("log"), "^[^\n]*WARNING again\n$"));
	log_flush();
	assert_true(matches(read_file("log"), "WARNING again\n.*WARNING message repeated 4 times: \\[again]\n$"));
	log_flush();
	assert_true(matches(read_file("log"), "again\n[^\n]*\n$"));
}

static void what_was_left_out_is_told_under_the_former_options(void **state)
{
	(void)state;
	configure((struct log_options){.fold_us = 1000000});
	log_warning("again");
	log_warning("again");
	configure((struct log_options){.file = "log", .format = LOG_FORMAT_JSON});
	assert_true(matches(read_file("log"), "^[^{\n]*\n[^{\n]*WARNING message repeated 1 times: \\[again]\n$"));
}

static uint64_t woken_for;

static void keep_wake(void *arg, uint64_t at)
{
	assert_string_equal(arg, "me");
	woken_for = at;
}

/* The loop has nothing to wake up for while nothing is left out. */
static void somebody_is_woken_when_lines_are_left_out_and_not_before(void **state)
{
	static char me[] = "me";

	(void)state;
	woken_for = 0;
	configure((struct log_options){.fold_us = 5000000});
	log_on_pending(keep_wake, me);
	log_warning("again");
	assert_int_equal(woken_for, 0);
	log_warning("again");
	assert_int_equal(woken_for, clock_us() + 5000000);
	assert_int_equal(log_flush_due(clock_us() + 4999999), woken_for);
	assert_false(matches(read_file("log"), "repeated"));
	assert_int_equal(log_flush_due(clock_us() + 5000000), 0);
	assert_true(matches(read_file("log"), "repeated 1 times"));
	log_on_pending(NULL, NULL);
}

/* A child process of ours has the same state, and must not say the same. */
static void a_log_that_is_closed_forgets_what_it_left_out(void **state)
{
	(void)state;
	configure((struct log_options){.fold_us = 5000000});
	log_warning("again");
	log_warning("again");
	log_close();
	log_flush();
	assert_false(matches(read_file("log"), "repeated"));
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
		cmocka_unit_test_teardown(whom_it_is_about_stands_before_the_text_and_is_no_format, stop_logging),
		cmocka_unit_test_teardown(control_characters_cannot_forge_a_line, stop_logging),
		cmocka_unit_test_teardown(syslog_gets_the_same_text_without_control_characters, stop_logging),
		cmocka_unit_test_teardown(a_line_that_is_too_long_is_cut_not_lost, stop_logging),
		cmocka_unit_test_teardown(the_file_is_opened_anew_even_under_the_same_name, stop_logging),
		cmocka_unit_test_teardown(a_file_is_appended_to, stop_logging),
		cmocka_unit_test_teardown(a_file_that_cannot_be_opened_leaves_the_former_options_in_force, stop_logging),
		cmocka_unit_test_teardown(a_full_disk_is_told_to_all_others_and_afterwards_to_itself, stop_logging),
		cmocka_unit_test_teardown(a_system_log_that_is_gone_is_told_and_found_again, stop_logging),
		cmocka_unit_test_teardown(a_system_log_that_is_started_anew_loses_nothing, stop_logging),
		cmocka_unit_test_teardown(a_system_log_that_nobody_reads_holds_nobody_up, stop_logging),
		cmocka_unit_test_teardown(stderr_gets_every_line_unless_quiet, stop_logging),
		cmocka_unit_test_teardown(json_goes_to_all_of_them, stop_logging),
		cmocka_unit_test_teardown(json_has_room_for_the_longest_message, stop_logging),
		cmocka_unit_test_teardown(a_repeated_warning_is_told_when_the_log_is_flushed, stop_logging),
		cmocka_unit_test_teardown(what_was_left_out_is_told_under_the_former_options, stop_logging),
		cmocka_unit_test_teardown(somebody_is_woken_when_lines_are_left_out_and_not_before, stop_logging),
		cmocka_unit_test_teardown(a_log_that_is_closed_forgets_what_it_left_out, stop_logging),
	};

	return cmocka_run_group_tests(tests, tempdir_enter, tempdir_leave);
}
