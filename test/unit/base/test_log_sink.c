#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/log_sink.h"
#include "base/sys.h"

static enum log_sink_news put(struct log_sink *s, const char *line)
{
	return log_sink_put(s, line, strlen(line));
}

/* A pipe that is filled up to so many bytes, and takes no more than that. */
struct narrow {
	struct log_sink sink;
	int out;
};

static void open_narrow(struct narrow *n, size_t room)
{
	int fds[2];
	size_t size;

	assert_int_equal(pipe(fds), 0);
	assert_true(sys_set_nonblocking(fds[0]) && sys_set_nonblocking(fds[1]));
	assert_true(fcntl(fds[1], F_SETPIPE_SZ, 4096) == 4096);
	size = 4096 - room;
	for (size_t i = 0; i < size; i++)
		assert_int_equal(write(fds[1], "-", 1), 1);
	*n = (struct narrow){.sink = {.name = "narrow", .fd = fds[1]}, .out = fds[0]};
}

/* What has come behind the filling. */
static const char *drain(struct narrow *n)
{
	static char text[8192];
	ssize_t got = read(n->out, text, sizeof(text) - 1);

	text[got > 0 ? got : 0] = '\0';
	return text + strspn(text, "-");
}

static void close_narrow(struct narrow *n)
{
	close(n->sink.fd);
	close(n->out);
}

static void a_line_that_is_taken_is_no_news(void **state)
{
	struct narrow n;

	(void)state;
	open_narrow(&n, 100);
	assert_int_equal(put(&n.sink, "one\n"), LOG_SINK_AS_BEFORE);
	assert_int_equal(put(&n.sink, "two\n"), LOG_SINK_AS_BEFORE);
	assert_string_equal(drain(&n), "one\ntwo\n");
	close_narrow(&n);
}

static void the_first_that_is_lost_and_the_first_that_is_taken_again_are_news(void **state)
{
	struct narrow n;

	(void)state;
	open_narrow(&n, 0);
	assert_int_equal(put(&n.sink, "one\n"), LOG_SINK_FAILS);
	assert_int_equal(n.sink.error, EAGAIN);
	assert_int_equal(put(&n.sink, "two\n"), LOG_SINK_AS_BEFORE);
	drain(&n);
	assert_int_equal(put(&n.sink, "three\n"), LOG_SINK_RECOVERS);
	assert_int_equal(n.sink.nlost, 2);
	assert_string_equal(drain(&n), "three\n");
	assert_int_equal(put(&n.sink, "four\n"), LOG_SINK_AS_BEFORE);
	close_narrow(&n);
}

static void those_that_were_lost_before_are_not_counted_again(void **state)
{
	struct narrow n;

	(void)state;
	open_narrow(&n, 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(put(&n.sink, "lost\n"), LOG_SINK_FAILS);
		drain(&n);
		assert_int_equal(put(&n.sink, "taken\n"), LOG_SINK_RECOVERS);
		assert_int_equal(n.sink.nlost, 1);
		for (int j = 0; j < 4096 - 6; j++)
			assert_int_equal(write(n.sink.fd, "-", 1), 1);
	}
	close_narrow(&n);
}

static void a_line_that_is_cut_does_not_run_into_the_next(void **state)
{
	int fds[2];
	struct log_sink s;
	char text[64] = "";

	(void)state;
	assert_int_equal(pipe(fds), 0);
	s = (struct log_sink){.name = "cut", .fd = fds[1], .error = EAGAIN, .nlost = 1, .is_cut = true};
	assert_int_equal(write(fds[1], "hal", 3), 3);
	assert_int_equal(put(&s, "whole\n"), LOG_SINK_RECOVERS);
	assert_int_equal(put(&s, "next\n"), LOG_SINK_AS_BEFORE);
	assert_true(read(fds[0], text, sizeof(text) - 1) > 0);
	assert_string_equal(text, "hal\nwhole\nnext\n");
	close(fds[0]);
	close(fds[1]);
}

static void none_takes_everything(void **state)
{
	struct log_sink s = {.name = "none", .fd = -1};

	(void)state;
	assert_int_equal(put(&s, "one\n"), LOG_SINK_AS_BEFORE);
	assert_int_equal(s.nlost, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_line_that_is_taken_is_no_news),
		cmocka_unit_test(the_first_that_is_lost_and_the_first_that_is_taken_again_are_news),
		cmocka_unit_test(those_that_were_lost_before_are_not_counted_again),
		cmocka_unit_test(a_line_that_is_cut_does_not_run_into_the_next),
		cmocka_unit_test(none_takes_everything),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
