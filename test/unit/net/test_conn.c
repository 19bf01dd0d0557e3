#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/addr.h"
#include "net/conn.h"

#include "turning.h"

/* A connection under test, and what it was told. */
struct subject {
	struct conn conn;
	int peer;                        /* the other end, non-blocking */
	char seen[1 << 20];              /* what was taken, in order */
	size_t nseen;
	size_t last_offer;               /* bytes in the last on_bytes() */
	unsigned noffers, nclosed, ndrained, nconnected, nburied;
	int error;
	size_t take;                     /* how many of an offer to take; SIZE_MAX all */
	bool closes_on_bytes, pauses_on_bytes, stays_open, pauses_at_end;
};

static struct subject s;

static size_t on_bytes(struct conn *c, const uint8_t *p, size_t n)
{
	size_t taken = n < s.take ? n : s.take;

	assert_ptr_equal(c, &s.conn);
	assert_true(n > 0);
	s.noffers++;
	s.last_offer = n;
	assert_true(s.nseen + taken <= sizeof(s.seen));
	memcpy(s.seen + s.nseen, p, taken);
	s.nseen += taken;
	if (s.closes_on_bytes) {
		conn_close(c);
		return CONN_CLOSED;
	}
	if (s.pauses_on_bytes)
		conn_pause(c);
	return taken;
}

static void on_connected(struct conn *c)
{
	(void)c;
	s.nconnected++;
}

static void on_drained(struct conn *c)
{
	assert_false(conn_is_backlogged(c));
	s.ndrained++;
}

static void on_closed(struct conn *c, int error)
{
	s.nclosed++;
	s.error = error;
	if (s.pauses_at_end)
		conn_pause(c);
	else if (!s.stays_open)
		conn_close(c);
}

static void on_buried(struct conn *c)
{
	assert_ptr_equal(c, &s.conn);
	s.nburied++;
}

static const struct conn_ops ops = {
	.on_connected = on_connected,
	.on_bytes = on_bytes,
	.on_drained = on_drained,
	.on_closed = on_closed,
	.on_buried = on_buried,
};

/* The same of one whose streams come in small pieces. */
static const struct conn_ops piecemeal_ops = {
	.on_bytes = on_bytes,
	.on_closed = on_closed,
	.on_buried = on_buried,
	.streams_in_pieces = true,
};

static int set_up(void **state)
{
	int fds[2];

	if (open_loop(state) != 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) != 0)
		return -1;
	memset(&s, 0, sizeof(s));
	s.take = SIZE_MAX;
	s.peer = fds[1];
	conn_open(&s.conn, loop, fds[0], &ops);
	return 0;
}

static int tear_down(void **state)
{
	conn_close(&s.conn);
	if (s.peer >= 0)
		close(s.peer);
	return close_loop(state);
}

static void peer_says(const char *text)
{
	assert_int_equal(write(s.peer, text, strlen(text)), strlen(text));
}

static void peer_ends(void)
{
	close(s.peer);
	s.peer = -1;
}

static bool has_seen(const char *text)
{
	return s.nseen == strlen(text) && memcmp(s.seen, text, s.nseen) == 0;
}

static size_t lent(void)
{
	struct bufpool_figures f;

	bufpool_figures(loop->bufs, &f);
	return f.lent;
}

/* ------------------------------------------------------------------ reading */

static void bytes_that_arrive_are_offered(void **state)
{
	(void)state;
	peer_says("hello");
	turn_until(has_seen("hello"));
	peer_says(" world");
	turn_until(has_seen("hello world"));
	assert_int_equal(lent(), 0);
}

/* Many large pieces, each in a turn of its own. */
static void peer_streams(void)
{
	static const char piece[8192];

	for (int i = 1; i <= 20; i++) {
		assert_int_equal(write(s.peer, piece, sizeof(piece)), sizeof(piece));
		turn_until(s.nseen == i * sizeof(piece));
	}
}

static void only_streams_that_come_in_pieces_are_collected(void **state)
{
	(void)state;
	peer_streams();
	assert_int_equal(loop->pace.interval, 0);
	s.conn.ops = &piecemeal_ops;
	s.nseen = 0;
	peer_streams();
	assert_int_not_equal(loop->pace.interval, 0);
}

static void kept_bytes_are_offered_again_with_what_comes_next(void **state)
{
	(void)state;
	s.take = 2;
	peer_says("abcd");
	turn_until(s.noffers == 1);
	assert_true(has_seen("ab"));
	assert_int_equal(lent(), 1);
	turn_a_few_times();
	/* Not before something comes: it would be the same bytes again. */
	assert_int_equal(s.noffers, 1);
	s.take = SIZE_MAX;
	peer_says("ef");
	turn_until(has_seen("abcdef"));
	assert_int_equal(s.last_offer, 4);
	assert_int_equal(lent(), 0);
}

static void bytes_not_taken_at_all_add_up(void **state)
{
	(void)state;
	s.take = 0;
	for (unsigned i = 1; i <= 5; i++) {
		peer_says("x");
		turn_until(s.noffers == i);
		assert_int_equal(s.last_offer, i);
	}
	s.take = SIZE_MAX;
	peer_says("y");
	turn_until(has_seen("xxxxxy"));
}

/* As much as the socket takes; it has to be more than one read of a query brings. */
static size_t fill_socket(void)
{
	static const char much[150000];
	size_t sent = 0;
	ssize_t n;

	while (sent < sizeof(much) && (n = write(s.peer, much + sent, sizeof(much) - sent)) > 0)
		sent += (size_t)n;
	assert_true(sent > PACE_READ_SIZE);
	return sent;
}

static void one_turn_of_much_that_comes_at_once_is_bounded(void **state)
{
	size_t sent = fill_socket();

	(void)state;
	turn_until(s.noffers > 0);
	assert_int_equal(s.last_offer, PACE_READ_SIZE);
	turn_until(s.nseen == sent);
}

static void a_stream_is_read_by_larger_reads(void **state)
{
	static const char piece[8192];
	size_t sent = 0;

	(void)state;
	for (int i = 0; i < 20; i++) {
		sent += (size_t)write(s.peer, piece, sizeof(piece));
		turn_until(s.nseen == sent);
	}
	sent += fill_socket();
	s.noffers = 0;
	turn_until(s.noffers > 0);
	assert_int_equal(s.nseen, sent);
	/* A short answer in between, and the next is a stream only when it has shown again that it is. */
	peer_says("CREATE TABLE");
	turn_until(s.nseen == sent + 12);
	fill_socket();
	s.noffers = 0;
	turn_until(s.noffers > 0);
	assert_int_equal(s.last_offer, PACE_READ_SIZE);
}

/* A message larger than the scratch, whose handler wants it whole. */
static void kept_bytes_may_outgrow_the_scratch(void **state)
{
	enum { N = 500000 };
	char *text = malloc(N);
	size_t sent = 0;

	(void)state;
	for (int i = 0; i < N; i++)
		text[i] = (char)(i * 31 + i / 1000);
	s.take = 0;
	while (sent < N) {
		ssize_t n = write(s.peer, text + sent, N - sent);

		if (n > 0)
			sent += (size_t)n;
		turn(0.001);
	}
	turn_until(s.last_offer == N);
	s.take = 100000;
	peer_says("!");
	turn_until(s.nseen == 100000);
	s.take = SIZE_MAX;
	peer_says("?");
	turn_until(s.nseen == N + 2);
	assert_memory_equal(s.seen, text, N);
	assert_memory_equal(s.seen + N, "!?", 2);
	assert_int_equal(lent(), 0);
	free(text);
}

static void the_end_of_the_stream_is_told_once_behind_its_bytes(void **state)
{
	(void)state;
	peer_says("last words");
	peer_ends();
	turn_until(s.nclosed == 1);
	assert_true(has_seen("last words"));
	assert_int_equal(s.error, 0);
	turn_a_few_times();
	assert_int_equal(s.nclosed, 1);
	assert_int_equal(s.nburied, 1);
}

static void what_is_kept_can_be_looked_at(void **state)
{
	size_t n;

	(void)state;
	assert_null(conn_kept(&s.conn, &n));
	assert_int_equal(n, 0);
	s.take = 2;
	peer_says("abcd");
	turn_until(s.noffers == 1);
	assert_memory_equal(conn_kept(&s.conn, &n), "cd", 2);
	assert_int_equal(n, 2);
}

/* ------------------------------------------------------------------ pausing */

static void an_end_that_is_paused_is_told_again_behind_what_was_kept(void **state)
{
	(void)state;
	s.take = 0;
	s.pauses_at_end = true;
	peer_says("last words");
	peer_ends();
	turn_until(s.nclosed == 1);
	turn_a_few_times();
	assert_int_equal(s.nclosed, 1);
	assert_int_equal(s.noffers, 1);
	s.take = SIZE_MAX;
	s.pauses_at_end = false;
	assert_int_equal(conn_resume(&s.conn), 0);
	assert_true(has_seen("last words"));
	turn_until(s.nclosed == 2);
	assert_int_equal(s.error, 0);
}

static void a_paused_connection_reads_nothing(void **state)
{
	(void)state;
	conn_pause(&s.conn);
	peer_says("abc");
	turn_a_few_times();
	assert_int_equal(s.noffers, 0);
	assert_int_equal(conn_resume(&s.conn), 0);
	turn_until(has_seen("abc"));
}

static void resuming_offers_kept_bytes_at_once(void **state)
{
	(void)state;
	s.take = 1;
	s.pauses_on_bytes = true;
	peer_says("abc");
	turn_until(s.noffers == 1);
	peer_says("def");
	turn_a_few_times();
	assert_int_equal(s.noffers, 1);
	s.take = SIZE_MAX;
	s.pauses_on_bytes = false;
	assert_int_equal(conn_resume(&s.conn), 0);
	assert_true(has_seen("abc"));
	turn_until(has_seen("abcdef"));
	assert_int_equal(lent(), 0);
}

static void a_handler_may_pause_again_while_it_is_resumed(void **state)
{
	(void)state;
	s.take = 1;
	s.pauses_on_bytes = true;
	peer_says("abc");
	turn_until(s.noffers == 1);
	assert_int_equal(conn_resume(&s.conn), 0);
	assert_true(has_seen("ab"));
	assert_int_equal(conn_resume(&s.conn), 0);
	assert_true(has_seen("abc"));
	assert_int_equal(lent(), 0);
	peer_says("d");
	turn_a_few_times();
	assert_true(has_seen("abc"));
}

static void unpausing_reads_again_without_offering_now(void **state)
{
	(void)state;
	s.take = 1;
	s.pauses_on_bytes = true;
	peer_says("ab");
	turn_until(s.noffers == 1);
	s.pauses_on_bytes = false;
	s.take = SIZE_MAX;
	conn_unpause(&s.conn);
	assert_int_equal(s.noffers, 1);
	peer_says("c");
	turn_until(has_seen("abc"));
}

static void resuming_says_when_it_closed_the_connection(void **state)
{
	(void)state;
	s.take = 0;
	s.pauses_on_bytes = true;
	peer_says("abc");
	turn_until(s.noffers == 1);
	s.closes_on_bytes = true;
	assert_true(conn_resume(&s.conn) == CONN_CLOSED);
	turn_until(s.nburied == 1);
	assert_int_equal(lent(), 0);
}

static void resuming_what_is_not_paused_is_harmless(void **state)
{
	(void)state;
	assert_int_equal(conn_resume(&s.conn), 0);
	conn_unpause(&s.conn);
	peer_says("a");
	turn_until(has_seen("a"));
}

/* ------------------------------------------------------------------ writing */

static size_t peer_hears(char *p, size_t n)
{
	ssize_t got = read(s.peer, p, n);

	return got > 0 ? (size_t)got : 0;
}

static void bytes_are_written_at_once(void **state)
{
	char text[16];

	(void)state;
	conn_write(&s.conn, "hello", 5);
	assert_int_equal(peer_hears(text, sizeof(text)), 5);
	assert_memory_equal(text, "hello", 5);
	conn_write(&s.conn, "", 0);
	assert_false(conn_is_backlogged(&s.conn));
	assert_int_equal(lent(), 0);
}

/* Numbered words, so that a lost or repeated one is found. */
static void write_until_backlogged(uint32_t *count)
{
	while (!conn_is_backlogged(&s.conn)) {
		uint32_t words[512];

		for (int i = 0; i < 512; i++)
			words[i] = (*count)++;
		conn_write(&s.conn, words, sizeof(words));
	}
}

static void what_the_peer_does_not_take_waits_and_comes_in_order(void **state)
{
	uint32_t sent = 0, heard = 0, words[4096];
	char *bytes = (char *)words;
	size_t have = 0;

	(void)state;
	write_until_backlogged(&sent);
	/* Behind what waits, whatever its size. */
	for (int i = 0; i < 10000; i++) {
		conn_write(&s.conn, &sent, sizeof(sent));
		sent++;
	}
	assert_int_equal(lent(), 1);
	turn_a_few_times();
	assert_int_equal(s.ndrained, 0);
	for (int idle = 0; heard < sent && idle < 1000;) {
		size_t n = peer_hears(bytes + have, sizeof(words) - have);

		idle = n == 0 ? idle + 1 : 0;
		have += n;
		for (size_t i = 0; i < have / 4; i++)
			assert_int_equal(words[i], heard++);
		memmove(bytes, bytes + have / 4 * 4, have % 4);
		have %= 4;
		turn(0.001);
	}
	assert_int_equal(heard, sent);
	assert_int_equal(s.ndrained, 1);
	assert_false(conn_is_backlogged(&s.conn));
	assert_int_equal(lent(), 0);
}

static void a_backlog_does_not_stop_the_reading(void **state)
{
	uint32_t count = 0;

	(void)state;
	write_until_backlogged(&count);
	peer_says("I talk, you listen");
	turn_until(has_seen("I talk, you listen"));
}

static void a_paused_connection_still_writes_what_waits(void **state)
{
	static char room[65536];
	uint32_t count = 0;

	(void)state;
	write_until_backlogged(&count);
	conn_pause(&s.conn);
	for (int i = 0; i < 1000 && s.ndrained == 0; i++) {
		while (peer_hears(room, sizeof(room)) > 0)
			continue;
		turn(0.001);
	}
	assert_int_equal(s.ndrained, 1);
}

/* ------------------------------------------------------------------ suspended */

static void a_suspended_connection_reads_nothing_until_it_goes_on(void **state)
{
	(void)state;
	conn_suspend(&s.conn);
	peer_says("hello");
	peer_ends();
	turn_a_few_times();
	assert_int_equal(s.noffers + s.nclosed, 0);
	assert_int_equal(conn_unsuspend(&s.conn), 0);
	turn_until(s.nclosed == 1);
	assert_true(has_seen("hello"));
}

static void a_suspended_connection_still_writes_what_waits(void **state)
{
	static char room[65536];
	uint32_t count = 0;
	size_t heard = 0, n;

	(void)state;
	write_until_backlogged(&count);
	conn_suspend(&s.conn);
	peer_says("not now");
	while (s.ndrained == 0) {
		while ((n = peer_hears(room, sizeof(room))) > 0)
			heard += n;
		turn(0.001);
	}
	heard += peer_hears(room, sizeof(room));
	assert_int_equal(heard, count * sizeof(count));
	assert_int_equal(s.noffers, 0);
	/* With nothing left to write it is not watched at all. */
	assert_false(ev_is_active(&s.conn.io));
	conn_unsuspend(&s.conn);
	turn_until(has_seen("not now"));
}

static void resuming_a_suspended_connection_counts_when_it_goes_on(void **state)
{
	(void)state;
	s.take = 2;
	s.pauses_on_bytes = true;
	peer_says("abcd");
	turn_until(s.noffers == 1);
	conn_suspend(&s.conn);
	s.take = SIZE_MAX;
	s.pauses_on_bytes = false;
	assert_int_equal(conn_resume(&s.conn), 0);
	peer_says("ef");
	turn_a_few_times();
	assert_true(has_seen("ab"));
	conn_unsuspend(&s.conn);
	assert_true(has_seen("abcd"));
	turn_until(has_seen("abcdef"));
}

static void what_was_paused_before_or_meanwhile_stays_so(void **state)
{
	(void)state;
	s.take = 2;
	s.pauses_on_bytes = true;
	peer_says("abcd");
	turn_until(s.noffers == 1);
	conn_suspend(&s.conn);
	conn_resume(&s.conn);
	conn_pause(&s.conn);
	conn_unsuspend(&s.conn);
	turn_a_few_times();
	assert_true(has_seen("ab"));
	s.take = SIZE_MAX;
	conn_resume(&s.conn);
	assert_true(has_seen("abcd"));
}

static void bytes_kept_for_want_of_the_rest_are_not_offered_again_for_going_on(void **state)
{
	(void)state;
	s.take = 0;
	peer_says("half");
	turn_until(s.noffers == 1);
	conn_suspend(&s.conn);
	conn_unsuspend(&s.conn);
	turn_a_few_times();
	assert_int_equal(s.noffers, 1);
	s.take = SIZE_MAX;
	peer_says(" and half");
	turn_until(has_seen("half and half"));
}

static void going_on_says_when_it_closed_the_connection(void **state)
{
	(void)state;
	s.take = 0;
	peer_says("abcd");
	turn_until(s.noffers == 1);
	conn_suspend(&s.conn);
	conn_resume(&s.conn);
	s.closes_on_bytes = true;
	assert_true(conn_unsuspend(&s.conn) == CONN_CLOSED);
	/* And then nothing of this does anything any more. */
	conn_suspend(&s.conn);
	assert_int_equal(conn_unsuspend(&s.conn), 0);
}

static void a_suspended_connection_that_breaks_ends_when_it_goes_on(void **state)
{
	uint32_t count = 0;

	(void)state;
	write_until_backlogged(&count);
	conn_suspend(&s.conn);
	peer_ends();
	turn_a_few_times();
	assert_false(conn_is_backlogged(&s.conn));
	assert_int_equal(s.nclosed, 0);
	conn_unsuspend(&s.conn);
	turn_until(s.nclosed == 1);
}

/* ------------------------------------------------------------------ failing */

static void a_failed_write_is_found_by_the_reader_behind_the_last_bytes(void **state)
{
	(void)state;
	peer_says("FATAL: terminating connection");
	peer_ends();
	conn_write(&s.conn, "SELECT 1", 8);
	conn_write(&s.conn, "SELECT 2", 8);
	assert_int_equal(s.nclosed, 0);
	assert_false(conn_is_backlogged(&s.conn));
	turn_until(s.nclosed == 1);
	assert_true(has_seen("FATAL: terminating connection"));
}

static void what_waits_is_dropped_when_the_peer_goes(void **state)
{
	uint32_t count = 0;

	(void)state;
	write_until_backlogged(&count);
	peer_says("bye");
	peer_ends();
	turn_until(s.nclosed == 1);
	assert_int_equal(s.ndrained, 0);
	assert_int_equal(lent(), 0);
}

static void a_paused_connection_that_breaks_still_ends(void **state)
{
	(void)state;
	conn_pause(&s.conn);
	peer_ends();
	conn_write(&s.conn, "x", 1);
	turn_until(s.nclosed == 1);
}

/* Bytes must not get lost in the middle: either all before the end are offered, or the end comes at the gap. */
static void a_paused_connection_that_breaks_leaves_no_gap_in_its_stream(void **state)
{
	static char much[150000];
	size_t sent = 0;
	ssize_t n;

	(void)state;
	for (size_t i = 0; i < sizeof(much); i++)
		much[i] = (char)(i * 31 + i / 1000);
	conn_pause(&s.conn);
	while (sent < sizeof(much) && (n = write(s.peer, much + sent, sizeof(much) - sent)) > 0)
		sent += (size_t)n;
	assert_true(sent > PACE_READ_SIZE);
	peer_ends();
	conn_write(&s.conn, "x", 1);
	turn(0.001);
	if (s.nclosed == 0)
		conn_resume(&s.conn);
	turn_until(s.nclosed == 1);
	assert_memory_equal(s.seen, much, s.nseen);
}

static void an_abort_is_told_with_its_error(void **state)
{
	const struct linger now = {.l_onoff = 1};
	struct addr_any a;
	struct addr self;
	int l = socket(AF_INET, SOCK_STREAM, 0), fd = socket(AF_INET, SOCK_STREAM, 0), peer;

	(void)state;
	conn_close(&s.conn);
	loop_bury(loop);
	addr_any_from_ip(&a, "127.0.0.1", 0);
	assert_int_equal(bind(l, &a.u.sa, a.len), 0);
	assert_int_equal(listen(l, 1), 0);
	addr_of_self(&self, l);
	addr_any_set_port(&a, self.port);
	assert_int_equal(connect(fd, &a.u.sa, a.len), 0);
	peer = accept(l, NULL, NULL);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	memset(&s.conn, 0, sizeof(s.conn));
	conn_open(&s.conn, loop, fd, &ops);
	setsockopt(peer, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(peer);
	turn_until(s.nclosed == 1);
	assert_int_equal(s.error, ECONNRESET);
	close(l);
}

/* ------------------------------------------------------------------ closing */

static void a_handler_may_close_while_it_is_offered_bytes(void **state)
{
	(void)state;
	s.closes_on_bytes = true;
	s.take = 1;
	peer_says("abc");
	turn_until(s.nburied == 1);
	assert_int_equal(s.nclosed, 0);
	assert_int_equal(s.noffers, 1);
	assert_int_equal(lent(), 0);
}

static void a_handler_may_close_with_bytes_kept_beyond_the_scratch(void **state)
{
	static char much[100000];
	size_t sent = 0;

	(void)state;
	s.take = 0;
	while (sent < sizeof(much)) {
		ssize_t n = write(s.peer, much + sent, sizeof(much) - sent);

		if (n > 0)
			sent += (size_t)n;
		turn(0.001);
	}
	turn_until(s.last_offer == sizeof(much));
	s.closes_on_bytes = true;
	peer_says("x");
	turn_until(s.nburied == 1);
	assert_int_equal(lent(), 0);
}

static void closing_writes_what_was_written_and_ends_the_stream(void **state)
{
	char text[16];

	(void)state;
	conn_write(&s.conn, "bye", 3);
	conn_close(&s.conn);
	assert_int_equal(peer_hears(text, sizeof(text)), 3);
	assert_int_equal(read(s.peer, text, sizeof(text)), 0);
}

static void closing_twice_is_harmless(void **state)
{
	(void)state;
	conn_close(&s.conn);
	conn_close(&s.conn);
	conn_write(&s.conn, "x", 1);
	conn_pause(&s.conn);
	conn_unpause(&s.conn);
	turn_a_few_times();
	assert_int_equal(s.nburied, 1);
	assert_int_equal(s.nclosed, 0);
}

static void closing_gives_buffers_back(void **state)
{
	uint32_t count = 0;

	(void)state;
	s.take = 0;
	peer_says("kept");
	turn_until(s.noffers == 1);
	write_until_backlogged(&count);
	assert_int_equal(lent(), 2);
	conn_close(&s.conn);
	assert_int_equal(lent(), 0);
}

/* ------------------------------------------------------------------ connecting */

static void start_connect(int port)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	struct addr_any a;

	conn_close(&s.conn);
	loop_bury(loop);
	memset(&s.conn, 0, sizeof(s.conn));
	addr_any_from_ip(&a, "127.0.0.1", port);
	if (connect(fd, &a.u.sa, a.len) != 0)
		assert_int_equal(errno, EINPROGRESS);
	conn_open_connecting(&s.conn, loop, fd, &ops);
}

/* A listening socket on a port of its own. */
static int listen_somewhere(int *port)
{
	int l = socket(AF_INET, SOCK_STREAM, 0);
	struct addr_any a;
	struct addr self;

	addr_any_from_ip(&a, "127.0.0.1", 0);
	assert_int_equal(bind(l, &a.u.sa, a.len), 0);
	assert_int_equal(listen(l, 1), 0);
	addr_of_self(&self, l);
	*port = self.port;
	return l;
}

static void a_connect_that_succeeds_is_told_and_the_bytes_flow(void **state)
{
	int port, l = listen_somewhere(&port);
	char text[16];

	(void)state;
	start_connect(port);
	turn_until(s.nconnected == 1);
	close(s.peer);
	s.peer = accept4(l, NULL, NULL, SOCK_NONBLOCK);
	conn_write(&s.conn, "startup", 7);
	turn_a_few_times();
	assert_int_equal(peer_hears(text, sizeof(text)), 7);
	peer_says("R");
	turn_until(has_seen("R"));
	assert_int_equal(s.nconnected, 1);
	close(l);
}

static void a_connect_that_fails_is_told_with_its_error(void **state)
{
	int port, l = listen_somewhere(&port);

	(void)state;
	close(l);
	start_connect(port);
	turn_until(s.nclosed == 1);
	assert_int_equal(s.error, ECONNREFUSED);
	assert_int_equal(s.nconnected, 0);
}

static void an_abandoned_connection_can_be_opened_with_another_socket(void **state)
{
	int port, l = listen_somewhere(&port), dead_port, dead = listen_somewhere(&dead_port);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	struct addr_any a;

	(void)state;
	close(dead);
	s.stays_open = true;
	start_connect(dead_port);
	turn_until(s.nclosed == 1);
	conn_abandon(&s.conn);
	turn_a_few_times();
	assert_int_equal(s.nclosed, 1);
	assert_int_equal(s.nburied, 1);
	addr_any_from_ip(&a, "127.0.0.1", port);
	if (connect(fd, &a.u.sa, a.len) != 0)
		assert_int_equal(errno, EINPROGRESS);
	conn_open_connecting(&s.conn, loop, fd, &ops);
	turn_until(s.nconnected == 1);
	close(l);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(bytes_that_arrive_are_offered),
		TEST(only_streams_that_come_in_pieces_are_collected),
		TEST(kept_bytes_are_offered_again_with_what_comes_next),
		TEST(bytes_not_taken_at_all_add_up),
		TEST(one_turn_of_much_that_comes_at_once_is_bounded),
		TEST(a_stream_is_read_by_larger_reads),
		TEST(kept_bytes_may_outgrow_the_scratch),
		TEST(the_end_of_the_stream_is_told_once_behind_its_bytes),
		TEST(what_is_kept_can_be_looked_at),
		TEST(an_end_that_is_paused_is_told_again_behind_what_was_kept),
		TEST(a_paused_connection_reads_nothing),
		TEST(resuming_offers_kept_bytes_at_once),
		TEST(a_handler_may_pause_again_while_it_is_resumed),
		TEST(unpausing_reads_again_without_offering_now),
		TEST(resuming_says_when_it_closed_the_connection),
		TEST(resuming_what_is_not_paused_is_harmless),
		TEST(bytes_are_written_at_once),
		TEST(what_the_peer_does_not_take_waits_and_comes_in_order),
		TEST(a_backlog_does_not_stop_the_reading),
		TEST(a_paused_connection_still_writes_what_waits),
		TEST(a_suspended_connection_reads_nothing_until_it_goes_on),
		TEST(a_suspended_connection_still_writes_what_waits),
		TEST(resuming_a_suspended_connection_counts_when_it_goes_on),
		TEST(what_was_paused_before_or_meanwhile_stays_so),
		TEST(bytes_kept_for_want_of_the_rest_are_not_offered_again_for_going_on),
		TEST(going_on_says_when_it_closed_the_connection),
		TEST(a_suspended_connection_that_breaks_ends_when_it_goes_on),
		TEST(a_failed_write_is_found_by_the_reader_behind_the_last_bytes),
		TEST(what_waits_is_dropped_when_the_peer_goes),
		TEST(a_paused_connection_that_breaks_still_ends),
		TEST(a_paused_connection_that_breaks_leaves_no_gap_in_its_stream),
		TEST(an_abort_is_told_with_its_error),
		TEST(a_handler_may_close_while_it_is_offered_bytes),
		TEST(a_handler_may_close_with_bytes_kept_beyond_the_scratch),
		TEST(closing_writes_what_was_written_and_ends_the_stream),
		TEST(closing_twice_is_harmless),
		TEST(closing_gives_buffers_back),
		TEST(a_connect_that_succeeds_is_told_and_the_bytes_flow),
		TEST(a_connect_that_fails_is_told_with_its_error),
		TEST(an_abandoned_connection_can_be_opened_with_another_socket),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
