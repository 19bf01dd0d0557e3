/*
 * The socket beneath OpenSSL: one BIO for all connections of a loop, pointed
 * at one of them before each call. With a BIO of its own, each connection
 * would cost 250 bytes more; OpenSSL's would also use read() and write(), which
 * cost more than recv() and send(), and which a vanished peer answers with a SIGPIPE.
 *
 * OpenSSL keeps nothing in it from one call to the next: what it says about
 * the last one (to be repeated, the end) is asked for at once.
 */
#pragma once
#include <openssl/bio.h>
#include <openssl/ssl.h>

/* NULL: out of memory. BIO_free() is for whoever made it; connections that use it keep it alive. */
BIO *tls_socket_new(void);

/* The next call on any connection over it is about this one. */
void tls_socket_aim(BIO *bio, int fd);

/* Puts it beneath a connection, unless the kernel encrypts that: then OpenSSL has to know the socket. */
void tls_socket_use(BIO *bio, SSL *ssl);
