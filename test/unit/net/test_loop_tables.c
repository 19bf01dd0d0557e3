#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"
#include "net/loop_tables.h"

#include "../failing.h"
#include "turning.h"

#define NFDS 4000

static unsigned nreadable;

static void on_readable(EV_P_ ev_io *io, int events)
{
	(void)events;
	nreadable++;
	ev_io_stop(EV_A_ io);
}

/* Descriptors that can be read at once: all in one pipe's end, so that the kernel is asked for nothing large. */
static int open_many(int *fds)
{
	struct rlimit limit;
	int ends[2];

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	if (pipe(ends) != 0 || write(ends[1], "x", 1) != 1)
		return 0;
	fds[0] = ends[0];
	for (int i = 1; i < NFDS; i++) {
		fds[i] = dup(ends[0]);
		if (fds[i] < 0)
			return i;
	}
	return NFDS;
}

static int begin(void **state)
{
	const char *error;

	return log_configure(&(struct log_options){.quiet = true}, &error) ? open_loop(state) : -1;
}

/* Memory is out at each growth of a table, for one turn at a time. */
static void tables_grow_while_memory_is_out(void **state)
{
	static ev_io watchers[NFDS];
	static int fds[NFDS];
	int n = open_many(fds);
	unsigned nfailed = 0;

	(void)state;
	assert_true(n > 500);
	for (int i = 0; i < n; i++) {
		ev_io_init(&watchers[i], on_readable, fds[i], EV_READ);
		fail_after(0);
		ev_io_start(loop->ev, &watchers[i]);
		nfailed += has_failed();
		loop_tables_renew();
	}
	assert_true(nfailed > 5);
	for (int i = 0; i < 1000 && nreadable < (unsigned)n; i++)
		turn(0.001);
	assert_int_equal(nreadable, n);
	for (int i = 0; i < n; i++)
		close(fds[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(tables_grow_while_memory_is_out, begin, close_loop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
