#include "net/conn.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/sys.h"
#include "net/inherited.h"
#include "net/tls_io.h"
#include "net/tls_socket.h"

/* The first byte of a TLS record that carries a handshake. */
#define TLS_HANDSHAKE_BYTE 0x16

static struct loop *loop_of(const struct conn *c)
{
	return c->io.data;
}

static int events_wanted(const struct conn *c)
{
	int want = 0;

	if (c->is_in_line)
		return 0;
	if (c->is_suspended)
		return c->out != NULL && !c->is_handshaking ? EV_WRITE : 0;
	if (c->is_connecting || c->wants_write || c->wants_turn || (c->out != NULL && !c->is_handshaking))
		want |= EV_WRITE;
	if (!c->is_connecting && !c->wants_write && (!c->is_paused || c->is_broken || c->is_handshaking))
		want |= EV_READ;
	return want;
}

/* The one place that decides what the loop watches a connection for. */
static void update_watch(struct conn *c)
{
	int want = events_wanted(c);

	if ((c->io.events & (EV_READ | EV_WRITE)) == want && ev_is_active(&c->io))
		return;
	/* ev_io_modify() back to the kernel's mask costs no system call; ev_io_set() always would. */
	ev_io_stop(loop_of(c)->ev, &c->io);
	ev_io_modify(&c->io, want);
	if (want != 0)
		ev_io_start(loop_of(c)->ev, &c->io);
}

__attribute__((cold))
static void set_broken(struct conn *c)
{
	c->is_broken = true;
	buf_return(loop_of(c)->bufs, &c->out);
	update_watch(c);
}

/* What is no error of the socket's the reading side does not find: it finds the end, then. */
__attribute__((cold))
static void fail_write(struct conn *c)
{
	if (errno == EPROTO)
		shutdown(c->io.fd, SHUT_RDWR);
	set_broken(c);
}

static void return_kept(struct conn *c)
{
	if (c->brings_secret && c->in != NULL)
		sys_wipe(c->in->data, c->in->cap);
	buf_return(loop_of(c)->bufs, &c->in);
}

/* Keeps [p, p + n) for later. False: out of memory, the stream cannot go on. */
static bool keep(struct conn *c, const uint8_t *p, size_t n)
{
	return n == 0 || buf_append(loop_of(c)->bufs, &c->in, p, n);
}

/* A read of at least this much may be a piece of a stream. */
#define LARGE_READ 4096

/* So many large reads in a row make a stream: 128 KiB of PostgreSQL's. */
#define STREAM_READS 16

static void note_read(struct conn *c, size_t n)
{
	struct pace *pace = &loop_of(c)->pace;

	if (n < LARGE_READ)
		c->nlarge = 0;
	else if (c->nlarge < STREAM_READS)
		c->nlarge++;
	if (c->nlarge == STREAM_READS)
		pace_note_stream(pace, n, c->ops->streams_in_pieces);
	else
		pace_note_other(pace);
}

/* For a call that may touch the socket. */
static struct ssl_st *aimed_tls(struct conn *c)
{
	tls_socket_aim(loop_of(c)->tls_socket, c->io.fd);
	return c->tls;
}

static ssize_t receive(struct conn *c, void *p, size_t n)
{
	return c->tls == NULL ? recv(c->io.fd, p, n, 0) : tls_recv(aimed_tls(c), p, n);
}

static ssize_t transmit(struct conn *c, const void *p, size_t n)
{
	return c->tls == NULL ? send(c->io.fd, p, n, MSG_NOSIGNAL) : tls_send(aimed_tls(c), p, n);
}

static void end_tls(struct conn *c, bool is_healthy)
{
	tls_close(aimed_tls(c), is_healthy);
	c->tls = NULL;
}

/*
 * What TLS has read ahead is known to nobody but itself: the loop has to be
 * told to come back. By way of the socket, which can nearly always be written
 * to: an event fed to libev would come within this turn, before all others'.
 */
static void come_back_for_pending(struct conn *c)
{
	if (c->tls == NULL || !c->is_open || c->is_paused || c->is_handshaking || !tls_has_pending(c->tls))
		return;
	c->wants_turn = true;
	update_watch(c);
}

/* Offers a kept buffer, and keeps what is left of it. CONN_CLOSED when that closed the connection. */
static size_t offer_kept(struct conn *c)
{
	struct buf *b = c->in;
	bool is_secret = c->brings_secret;
	uint8_t *p = b->data + b->start;
	size_t n = buf_bytes(b), taken;

	c->in = NULL;
	taken = c->ops->on_bytes(c, p, n);
	if (is_secret)
		sys_wipe(p, taken == CONN_CLOSED ? n : taken);
	if (taken != CONN_CLOSED) {
		b->start += (uint32_t)taken;
		if (buf_bytes(b) > 0) {
			c->in = b;
			return 0;
		}
	}
	buf_return(loop_of(c)->bufs, &b);
	return taken == CONN_CLOSED ? CONN_CLOSED : 0;
}

/* A message so long that what is kept of it leaves little room for a read: it grows where it is kept. */
__attribute__((cold))
static void take_more(struct conn *c, size_t n)
{
	if (!keep(c, loop_of(c)->scratch, n))
		c->ops->on_closed(c, ENOMEM);
	else
		offer_kept(c);
}

/* The scratch holds what was kept, and behind it what has just been read: n bytes in all. */
static void take_scratch(struct conn *c, size_t n)
{
	bool is_secret = c->brings_secret;
	size_t taken;

	return_kept(c);
	taken = c->ops->on_bytes(c, loop_of(c)->scratch, n);
	if (taken != CONN_CLOSED && !keep(c, loop_of(c)->scratch + taken, n - taken))
		c->ops->on_closed(c, ENOMEM);
	if (is_secret)
		sys_wipe(loop_of(c)->scratch, n);
}

/*
 * Reads behind what was kept, if that is not much, so that a
 * message cut by a read boundary becomes whole without more than its head
 * being copied; otherwise into the kept buffer itself, which then grows.
 */
static void read_some(struct conn *c)
{
	uint8_t *scratch = loop_of(c)->scratch;
	size_t kept = buf_bytes(c->in);
	bool is_long = kept >= PACE_READ_SIZE / 2;
	size_t at = is_long ? 0 : kept;
	ssize_t n;

	if (at > 0)
		memcpy(scratch, c->in->data + c->in->start, at);
	n = receive(c, scratch + at, loop_of(c)->pace.read_size - at);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		c->ops->on_closed(c, n < 0 ? errno : 0);
		return;
	}
	note_read(c, (size_t)n);
	/* Broken, and nobody listens: bytes left out now would be a gap in what is offered later. */
	if (c->is_paused)
		c->ops->on_closed(c, EPIPE);
	else if (is_long)
		take_more(c, (size_t)n);
	else
		take_scratch(c, at + (size_t)n);
}

static bool may_read(const struct conn *c)
{
	return c->is_open && (!c->is_paused || c->is_broken);
}

/* Whether the first byte is here and asks for TLS, in which case somebody else has gone on with it. */
__attribute__((cold))
static bool sniff(struct conn *c)
{
	uint8_t first;

	if (recv(c->io.fd, &first, 1, MSG_PEEK) != 1)
		return false;
	c->is_sniffing = false;
	if (first != TLS_HANDSHAKE_BYTE)
		return false;
	c->ops->on_client_hello(c);
	return true;
}

static void shake_hands(struct conn *c)
{
	enum tls_step step;

	/* A storm of handshakes, each some hundred times a query, is spread over turns. */
	if (!loop_may_shake_hands(loop_of(c), c)) {
		update_watch(c);
		return;
	}
	step = tls_handshake(aimed_tls(c));
	c->wants_write = step == TLS_STEP_WANT_WRITE;
	if (step == TLS_STEP_FAILED) {
		c->ops->on_closed(c, EPROTO);
		return;
	}
	c->is_handshaking = step != TLS_STEP_DONE;
	update_watch(c);
	if (c->is_handshaking)
		return;
	c->ops->on_secured(c);
	/* A client's first packet has often come along with the end of its handshake. */
	if (may_read(c) && tls_has_pending(c->tls))
		read_some(c);
	come_back_for_pending(c);
}

static void finish_connect(struct conn *c)
{
	int error = 0;
	socklen_t n = sizeof(error);

	if (getsockopt(c->io.fd, SOL_SOCKET, SO_ERROR, &error, &n) != 0)
		error = errno;
	if (error != 0) {
		c->ops->on_closed(c, error);
		return;
	}
	c->is_connecting = false;
	update_watch(c);
	c->ops->on_connected(c);
}

static void write_waiting(struct conn *c)
{
	struct buf *b = c->out;
	ssize_t n = transmit(c, b->data + b->start, buf_bytes(b));

	if (n < 0) {
		if (errno != EAGAIN && errno != EINTR)
			fail_write(c);
		return;
	}
	b->start += (uint32_t)n;
	if (buf_bytes(b) > 0)
		return;
	buf_return(loop_of(c)->bufs, &c->out);
	update_watch(c);
	c->ops->on_drained(c);
}

__attribute__((cold))
static void begin(struct conn *c)
{
	if (c->is_connecting)
		finish_connect(c);
	else
		shake_hands(c);
}

/* Bits that are next to each other are looked at together: for nearly every event that is the first line. */
static bool may_take(struct conn *c)
{
	if (c->is_open && !c->is_paused && !c->is_sniffing)
		return true;
	return may_read(c) && !(c->is_sniffing && sniff(c));
}

static void on_event(EV_P_ ev_io *io, int events)
{
	struct conn *c = (struct conn *)io;

	(void)loop;
	if (c->is_connecting || c->is_handshaking) {
		begin(c);
		return;
	}
	if (c->wants_turn && !c->is_suspended) {
		c->wants_turn = false;
		update_watch(c);
		events |= EV_READ;
	}
	if ((events & EV_WRITE) && c->out != NULL)
		write_waiting(c);
	if (!(events & EV_READ) || !may_take(c))
		return;
	read_some(c);
	come_back_for_pending(c);
}

static void open_with(struct conn *c, struct loop *loop, int fd, const struct conn_ops *ops, int events)
{
	c->io.data = loop;
	c->ops = ops;
	c->is_open = true;
	ev_io_init(&c->io, on_event, fd, events);
	ev_set_priority(&c->io, ops->priority);
	ev_io_start(loop->ev, &c->io);
}

void conn_open(struct conn *c, struct loop *loop, int fd, const struct conn_ops *ops)
{
	open_with(c, loop, fd, ops, EV_READ);
}

void conn_read_soon(struct conn *c)
{
	ev_feed_event(loop_of(c)->ev, &c->io, EV_READ);
}

void conn_open_connecting(struct conn *c, struct loop *loop, int fd, const struct conn_ops *ops)
{
	c->is_connecting = true;
	open_with(c, loop, fd, ops, EV_WRITE);
}

void conn_sniff(struct conn *c)
{
	c->is_sniffing = true;
}

void conn_start_tls(struct conn *c, struct ssl_st *tls)
{
	c->tls = tls;
	c->is_handshaking = true;
	tls_socket_use(loop_of(c)->tls_socket, tls);
	update_watch(c);
	/* A client speaks first. */
	if (!SSL_is_server(tls))
		ev_feed_event(loop_of(c)->ev, &c->io, EV_READ);
}

void conn_write(struct conn *c, const void *p, size_t n)
{
	ssize_t done = 0;

	if (n == 0 || !c->is_open || c->is_broken)
		return;
	if (c->out == NULL && !c->is_handshaking) {
		done = transmit(c, p, n);
		if (done == (ssize_t)n)
			return;
		if (done < 0) {
			if (errno != EAGAIN && errno != EINTR) {
				fail_write(c);
				return;
			}
			done = 0;
		}
	}
	if (!buf_append(loop_of(c)->bufs, &c->out, (const uint8_t *)p + done, n - (size_t)done)) {
		shutdown(c->io.fd, SHUT_RDWR);
		set_broken(c);
		return;
	}
	update_watch(c);
}

bool conn_write_descriptors(struct conn *c, const void *p, size_t n, const int *fds, size_t nfds)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(INHERITED_MAX * sizeof(int))];
	} control = {0};
	struct iovec iov = {.iov_base = (void *)p, .iov_len = n};
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = control.room,
			   .msg_controllen = CMSG_SPACE(nfds * sizeof(int))};
	ssize_t done;

	if (c->tls != NULL || conn_is_backlogged(c) || nfds > INHERITED_MAX)
		return false;
	control.header.cmsg_level = SOL_SOCKET;
	control.header.cmsg_type = SCM_RIGHTS;
	control.header.cmsg_len = CMSG_LEN(nfds * sizeof(int));
	memcpy(CMSG_DATA(&control.header), fds, nfds * sizeof(int));
	done = sendmsg(c->io.fd, &m, MSG_NOSIGNAL);
	if (done <= 0)
		return false;
	if ((size_t)done < n)
		conn_write(c, (const uint8_t *)p + done, n - (size_t)done);
	return true;
}

void conn_pause(struct conn *c)
{
	if (c->is_paused || !c->is_open)
		return;
	c->is_paused = true;
	update_watch(c);
}

void conn_end_pause(struct conn *c)
{
	if (!c->is_open)
		return;
	c->is_paused = false;
	update_watch(c);
	come_back_for_pending(c);
}

size_t conn_resume(struct conn *c)
{
	conn_unpause(c);
	if (c->is_suspended) {
		c->owes_offer = true;
		return 0;
	}
	return c->in == NULL ? 0 : offer_kept(c);
}

void conn_skip(struct conn *c, size_t n)
{
	c->in->start += (uint32_t)n;
	if (buf_bytes(c->in) == 0)
		buf_return(loop_of(c)->bufs, &c->in);
}

void conn_expect_secret(struct conn *c, bool expected)
{
	c->brings_secret = expected;
	if (c->tls != NULL)
		tls_wipe_what_is_read(c->tls, expected);
}

void conn_suspend(struct conn *c)
{
	if (c->is_suspended || !c->is_open)
		return;
	c->is_suspended = true;
	update_watch(c);
}

size_t conn_unsuspend(struct conn *c)
{
	bool owes_offer = c->owes_offer;

	if (!c->is_suspended || !c->is_open)
		return 0;
	/* wants_turn has outlasted it: what TLS had read ahead is come back for as ever. */
	c->is_suspended = c->owes_offer = false;
	update_watch(c);
	return owes_offer && !c->is_paused && c->in != NULL ? offer_kept(c) : 0;
}

void conn_close(struct conn *c)
{
	if (!c->is_open)
		return;
	if (c->is_in_line)
		loop_leave_line(loop_of(c), c);
	if (c->out != NULL && !c->is_broken && !c->is_handshaking)
		(void)!transmit(c, c->out->data + c->out->start, buf_bytes(c->out));
	end_tls(c, !c->is_broken);
	ev_io_stop(loop_of(c)->ev, &c->io);
	close(c->io.fd);
	c->is_open = false;
	return_kept(c);
	buf_return(loop_of(c)->bufs, &c->out);
	c->next_grave = loop_of(c)->graves;
	loop_of(c)->graves = c;
}

void conn_abandon(struct conn *c)
{
	if (c->is_in_line)
		loop_leave_line(loop_of(c), c);
	end_tls(c, false);
	ev_io_stop(loop_of(c)->ev, &c->io);
	close(c->io.fd);
	buf_return(loop_of(c)->bufs, &c->in);
	buf_return(loop_of(c)->bufs, &c->out);
	c->is_open = c->is_connecting = c->is_handshaking = c->wants_write = c->wants_turn = false;
	c->is_paused = c->is_broken = c->is_called = false;
}
