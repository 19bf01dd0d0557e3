/*
 * A connection: one non-blocking byte stream over a socket. The only reads,
 * writes and ev_io of data in the program.
 *
 * Bytes that arrive are offered to on_bytes(), which says how many it has
 * taken; the rest is kept in a lent buffer and offered again together with
 * what comes next. Bytes to be sent are written at once; only what the kernel
 * does not take is kept. A connection at rest owns no buffer.
 *
 * A failed write is not reported to the writer: what cannot be sent is dropped
 * and the reading side finds the end of the stream, after whatever the peer
 * had still said (a server's last error message, say). Only a paused
 * connection ends at once, with EPIPE: who would resume it may never come.
 */
#pragma once
#include <ev.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/loop.h"

struct conn;
struct ssl_st;

/* What on_bytes() answers instead of a count when it has closed the connection. */
#define CONN_CLOSED ((size_t)-1)

struct conn_ops {
	/* A started connect() has succeeded. */
	void (*on_connected)(struct conn *c);
	/* The handshake of conn_start_tls() is done. A failed one is on_closed() with EPROTO. */
	void (*on_secured)(struct conn *c);
	/* The first byte of a connection that conn_sniff() watches begins a TLS handshake: start it. */
	void (*on_client_hello)(struct conn *c);
	/* Bytes: returns how many were taken, or CONN_CLOSED. */
	size_t (*on_bytes)(struct conn *c, const uint8_t *p, size_t n);
	/* What had to wait for the peer to read has all been written. */
	void (*on_drained)(struct conn *c);
	/*
	 * The stream has ended, error 0, or failed, or could not be connected. The handler calls conn_close(); of an
	 * end it may as well conn_pause(), and hears of it again when it has resumed.
	 */
	void (*on_closed)(struct conn *c, int error);
	/* The loop has forgotten it: its memory may go. */
	void (*on_buried)(struct conn *c);
	/* Of all that is ready in a turn, connections of a higher one are looked at first; EV_MINPRI to EV_MAXPRI. */
	int priority;
	/*
	 * Its streams come in small pieces, however fast: see loop_note_read(). Those of clients need no such help. They
	 * come as fast as the server takes them, and what it does not take yet collects meanwhile by itself.
	 */
	bool streams_in_pieces;
};

/* There may be very many, and nearly all of them at rest: they are to be small. */
struct conn {
	ev_io io;                        /* its data is the loop */
	const struct conn_ops *ops;
	union {
		struct buf *in;          /* read and not taken yet */
		struct conn *next_in_line; /* while is_in_line: a handshake keeps nothing */
		struct conn *next_grave; /* once closed */
	};
	struct buf *out;                 /* written by us, not taken by the kernel yet */
	struct ssl_st *tls;              /* OpenSSL's SSL; NULL: plain */
	bool is_open : 1, is_connecting : 1, is_paused : 1, is_broken : 1;
	bool is_handshaking : 1, is_sniffing : 1;
	bool wants_write : 1;            /* the handshake does */
	bool wants_turn : 1;             /* TLS has read ahead: there is more to take, in the next turn */
	bool is_suspended : 1;
	bool brings_secret : 1;          /* what is read is wiped when it has been taken */
	bool owes_offer : 1;             /* kept bytes would have been offered, had it not been suspended */
	uint8_t nlarge;                  /* large reads in a row, and no more than make a stream */
	bool is_in_line : 1, is_called : 1; /* see loop_may_shake_hands() */
};

/* Takes over a connected socket and starts reading. */
void conn_open(struct conn *c, struct loop *loop, int fd, const struct conn_ops *ops);

/*
 * What has come along with the connection is read in this turn: nearly always its first bytes, and a wake-up less. For
 * whoever has spoken first.
 */
void conn_read_soon(struct conn *c);

/* Takes over a socket on which connect() is in progress. */
void conn_open_connecting(struct conn *c, struct loop *loop, int fd, const struct conn_ops *ops);

/* The first byte is looked at, and on_client_hello() called, before anything is read. */
void conn_sniff(struct conn *c);

/*
 * Takes over an SSL, set up for one of the two roles over this socket, and shakes hands. To be
 * called when nothing is kept: what was read in the clear must not be taken
 * for what came encrypted.
 */
void conn_start_tls(struct conn *c, struct ssl_st *tls);

/* Sends all of [p, p + n), now or when the peer can take it. */
void conn_write(struct conn *c, const void *p, size_t n);

/*
 * The same over a plain Unix socket, with descriptors that the peer gets along with the first byte. False, and nothing
 * is sent: the kernel does not take them now.
 */
bool conn_write_descriptors(struct conn *c, const void *p, size_t n, const int *fds, size_t nfds);

/* Bytes that wait for the peer to read: whoever feeds this connection stops until on_drained(). */
static inline bool conn_is_backlogged(const struct conn *c)
{
	return c->out != NULL;
}

/* No more on_bytes() until conn_resume(); the peer is slowed down by its own full socket. */
void conn_pause(struct conn *c);

/* Reads again, and offers kept bytes at once. CONN_CLOSED when that closed the connection, else 0. */
size_t conn_resume(struct conn *c);

/* The next, for one that is paused. */
void conn_end_pause(struct conn *c);

/* Reads again, without offering kept bytes now: for use while those very bytes are being looked at. */
static inline void conn_unpause(struct conn *c)
{
	if (c->is_paused)
		conn_end_pause(c);
}

/*
 * Nothing is read, and no kept bytes are offered, until conn_unsuspend(),
 * whether the connection is paused or resumed meanwhile; the end of the stream
 * is not noticed either. What waits to be written still is.
 */
void conn_suspend(struct conn *c);

/* Goes on where it stopped. CONN_CLOSED when that closed the connection, else 0. */
size_t conn_unsuspend(struct conn *c);

/* Bytes that were read and not taken yet, which on_bytes() will be offered again. */
static inline const uint8_t *conn_kept(const struct conn *c, size_t *n)
{
	*n = buf_bytes(c->in);
	return *n == 0 ? NULL : c->in->data + c->in->start;
}

/*
 * What comes from now on is a secret, or no longer is: it is wiped as soon as it has been taken, here and in TLS's
 * buffers. To be called before it is asked for.
 */
void conn_expect_secret(struct conn *c, bool expected);

/* Forgets the first n of them. */
void conn_skip(struct conn *c, size_t n);

/* Tries to write what waits, closes the socket, forgets buffers; freed by on_buried() at the end of this turn. */
void conn_close(struct conn *c);

/* Closes the socket of a connection that did not come about, and forgets it; the object stays, to be opened with another. */
void conn_abandon(struct conn *c);

/* What is lent to it. */
static inline size_t conn_kept_memory(const struct conn *c)
{
	return buf_memory(c->in) + buf_memory(c->out);
}

static inline int conn_fd(const struct conn *c)
{
	return c->io.fd;
}
