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

#define ROOM 4096

/* A pipe with room for one page, of which `room` bytes are left. Whoever writes to it without looking waits. */
struct narrow {
	struct log_sink sink;
	int out;
};

static void fill(int fd, size_t n)
{
	for (size_t i = 0; i < n; i++)
		assert_int_equal(write(fd, "-", 1), 1);
}

static void open_narrow(struct narrow *n, size_t room)
{
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	assert_true(sys_set_nonblocking(fds[0]));
	assert_true(fcntl(fds[1], F_SETPIPE_SZ, ROOM) == ROOM);
	fill(fds[1], ROOM - room);
	*n = (struct narrow){.sink = {.name = "narrow", .fd = fds[1]}, .out = fds[0]};
	log_sink_look(&n->sink);
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
	open_narrow(&n, ROOM);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(put(&n.sink, "line\n"), LOG_SINK_AS_BEFORE);
		assert_string_equal(drain(&n), "line\n");
	}
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
		fill(n.sink.fd, ROOM - strlen("taken\n"));
	}
	close_narrow(&n);
}

/* As one of JSON may be. */
static void a_line_longer_than_there_is_room_is_cut_and_does_not_wait(void **state)
{
	static char line[3 * ROOM];
	struct narrow n;

	(void)state;
	memset(line, 'x', sizeof(line) - 1);
	open_narrow(&n, ROOM);
	assert_int_equal(put(&n.sink, line), LOG_SINK_FAILS);
	assert_true(n.sink.is_cut);
	assert_int_equal(strlen(drain(&n)), ROOM);
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
		cmocka_unit_test(a_line_longer_than_there_is_room_is_cut_and_does_not_wait),
		cmocka_unit_test(a_line_that_is_cut_does_not_run_into_the_next),
		cmocka_unit_test(none_takes_everything),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
