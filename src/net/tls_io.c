#include "net/tls_io.h"

#include <errno.h>
#include <limits.h>
#include <openssl/err.h>

/*
 * Whether the last operation waits for the socket. SSL_get_error() says so as
 * well, but only with an error queue that was emptied before, which costs more
 * than anything else around an operation. What somebody else has left there
 * does not matter to this.
 */
static bool waits_for_socket(const SSL *ssl)
{
	if (SSL_want_read(ssl))
		return BIO_should_read(SSL_get_rbio(ssl));
	/* Behind a fatal error it could be our alert that does not get away. */
	return SSL_want_write(ssl) && SSL_is_init_finished(ssl) && BIO_should_write(SSL_get_wbio(ssl));
}

/* Fatal errors end the stream, too, but in a state that is not that of a finished handshake. */
static bool has_been_closed(const SSL *ssl)
{
	return (SSL_get_shutdown(ssl) & SSL_RECEIVED_SHUTDOWN) && SSL_is_init_finished(ssl);
}

/* What went wrong in the last operation, as errno; 0: the peer has closed. */
static int error_of(SSL *ssl, int result)
{
	int saved = errno;

	if (waits_for_socket(ssl))
		return EAGAIN;
	if (has_been_closed(ssl))
		return 0;
	switch (SSL_get_error(ssl, result)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		return EAGAIN;
	case SSL_ERROR_SYSCALL:
		return saved == EAGAIN ? EPROTO : saved;
	default:
		return EPROTO;
	}
}

static int clamp(size_t n)
{
	return n > INT_MAX ? INT_MAX : (int)n;
}

ssize_t tls_recv(SSL *ssl, void *p, size_t n)
{
	size_t have = 0;
	int result = 1, error = 0;

	while (have < n && result > 0) {
		errno = 0;
		result = SSL_read(ssl, (char *)p + have, clamp(n - have));
		if (result > 0)
			have += (size_t)result;
		else
			error = error_of(ssl, result);
		/* What is not here yet is worth no system call of its own. */
		if (!SSL_has_pending(ssl))
			break;
	}
	if (have > 0)
		return (ssize_t)have;
	if (error == 0)
		return 0;
	errno = error;
	return -1;
}

ssize_t tls_send(SSL *ssl, const void *p, size_t n)
{
	size_t done = 0;
	int error;

	while (done < n) {
		int result;

		errno = 0;
		result = SSL_write(ssl, (const char *)p + done, clamp(n - done));
		if (result <= 0) {
			error = error_of(ssl, result);
			if (done > 0)
				break;
			errno = error == 0 ? EPIPE : error;
			return -1;
		}
		done += (size_t)result;
	}
	return (ssize_t)done;
}

enum tls_step tls_handshake(SSL *ssl)
{
	int result;

	ERR_clear_error();
	result = SSL_do_handshake(ssl);
	if (result == 1)
		return TLS_STEP_DONE;
	switch (SSL_get_error(ssl, result)) {
	case SSL_ERROR_WANT_READ:
		return TLS_STEP_WANT_READ;
	case SSL_ERROR_WANT_WRITE:
		return TLS_STEP_WANT_WRITE;
	default:
		return TLS_STEP_FAILED;
	}
}

bool tls_has_pending(const SSL *ssl)
{
	/* A part of a record is pending too, but only the socket can bring its rest. */
	return SSL_has_pending(ssl) && !SSL_want_read(ssl);
}

void tls_wipe_what_is_read(SSL *ssl, bool wipes)
{
	if (wipes)
		SSL_set_options(ssl, SSL_OP_CLEANSE_PLAINTEXT);
	else
		SSL_clear_options(ssl, SSL_OP_CLEANSE_PLAINTEXT);
}

void tls_close(SSL *ssl, bool is_healthy)
{
	if (ssl == NULL)
		return;
	if (is_healthy && SSL_is_init_finished(ssl)) {
		ERR_clear_error();
		SSL_shutdown(ssl);
	}
	ERR_clear_error();
	SSL_free(ssl);
}
