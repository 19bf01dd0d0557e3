/*
 * Reading, writing and shaking hands over TLS on a non-blocking socket, with
 * the results of recv() and send(): bytes, 0 for the end of the stream, -1 and
 * errno (EAGAIN: not now; EPROTO: the peer or the protocol is at fault).
 */
#pragma once
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* As many whole records as are here and fit: up to n bytes. */
ssize_t tls_recv(SSL *ssl, void *p, size_t n);

/* As many bytes as the socket takes now. */
ssize_t tls_send(SSL *ssl, const void *p, size_t n);

enum tls_step { TLS_STEP_DONE, TLS_STEP_WANT_READ, TLS_STEP_WANT_WRITE, TLS_STEP_FAILED };

/* The next step of the handshake. After FAILED the reason is in OpenSSL's error queue. */
enum tls_step tls_handshake(SSL *ssl);

/* Bytes have been read off the socket that the loop will not wake up for. */
bool tls_has_pending(const SSL *ssl);

/* Whether OpenSSL wipes what it has decrypted when that has been read. */
void tls_wipe_what_is_read(SSL *ssl, bool wipes);

/* Tells the peer that nothing more comes, if that can be done at once, and frees. NULL is allowed. */
void tls_close(SSL *ssl, bool is_healthy);
