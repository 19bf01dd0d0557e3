#include "net/tls_socket.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/* What OpenSSL asks about after a call. */
#define OUTCOME (BIO_FLAGS_RWS | BIO_FLAGS_SHOULD_RETRY | BIO_FLAGS_IN_EOF)

static int descriptor(BIO *bio)
{
	return (int)(intptr_t)BIO_get_data(bio);
}

static bool is_for_later(int error)
{
	return error == EAGAIN || error == EINTR;
}

static int on_read(BIO *bio, char *p, size_t n, size_t *done)
{
	ssize_t got = recv(descriptor(bio), p, n, 0);

	BIO_clear_flags(bio, OUTCOME);
	if (got > 0) {
		*done = (size_t)got;
		return 1;
	}
	if (got == 0)
		BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
	else if (is_for_later(errno))
		BIO_set_retry_read(bio);
	return (int)got;
}

static int on_write(BIO *bio, const char *p, size_t n, size_t *done)
{
	ssize_t sent = send(descriptor(bio), p, n, MSG_NOSIGNAL);

	BIO_clear_flags(bio, OUTCOME);
	if (sent >= 0) {
		*done = (size_t)sent;
		return 1;
	}
	if (is_for_later(errno))
		BIO_set_retry_write(bio);
	return -1;
}

static long on_ctrl(BIO *bio, int command, long n, void *p)
{
	(void)n;
	(void)p;
	switch (command) {
	case BIO_CTRL_EOF:
		return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0;
	case BIO_CTRL_FLUSH:
		return 1;
	default:
		return 0;
	}
}

static BIO_METHOD *make_method(void)
{
	BIO_METHOD *m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket of a connection");

	if (m == NULL)
		return NULL;
	BIO_meth_set_read_ex(m, on_read);
	BIO_meth_set_write_ex(m, on_write);
	BIO_meth_set_ctrl(m, on_ctrl);
	return m;
}

BIO *tls_socket_new(void)
{
	/* OpenSSL wants it to outlast every BIO, and the indexes are few. */
	static BIO_METHOD *method;
	BIO *bio;

	if (method == NULL)
		method = make_method();
	bio = method != NULL ? BIO_new(method) : NULL;
	if (bio != NULL)
		BIO_set_init(bio, 1);
	return bio;
}

void tls_socket_aim(BIO *bio, int fd)
{
	BIO_set_data(bio, (void *)(intptr_t)fd);
}

void tls_socket_use(BIO *bio, SSL *ssl)
{
	if ((SSL_get_options(ssl) & SSL_OP_ENABLE_KTLS) || BIO_up_ref(bio) != 1)
		return;
	/* Takes that one reference for both directions. */
	SSL_set_bio(ssl, bio, bio);
}
