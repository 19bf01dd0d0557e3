/*
 * The first packet of a connection: StartupMessage, CancelRequest, SSLRequest
 * and GSSENCRequest. They have no type byte. Read here as a server does, and
 * written as a client does.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "proto/msg.h"

/*
 * The bytes behind the length word. PostgreSQL takes 10,000; here a session
 * parameter of 60 KiB has to fit, which is carried to servers by other messages.
 */
#define STARTUP_MAX_SIZE 71680

/* The newest protocol we speak to clients is 3.2. All that it changes is how long a cancel key may be. */
#define STARTUP_NEWEST_MINOR 2

/* Cancel keys: a secret is 4 bytes in protocol 3.0 and at most 256 in 3.2; the process id takes 4 more. */
#define STARTUP_CANCEL_KEY_MIN 8
#define STARTUP_CANCEL_KEY_MAX 260

enum startup_kind {
	STARTUP_SHORT,            /* more bytes are needed: `size` in all, 0 while that is unknown */
	STARTUP_BAD,              /* `error` says why */
	STARTUP_SSL_REQUEST,
	STARTUP_GSSENC_REQUEST,
	STARTUP_CANCEL,           /* `cancel_key` */
	STARTUP_MESSAGE,          /* `minor` and startup_params() */
	STARTUP_OLD_PROTOCOL,     /* before 3.0: cannot even be answered in its own language */
};

struct startup {
	size_t size;              /* of the whole packet; what the caller consumes when it is complete */
	uint16_t minor;           /* the protocol is 3.minor */
	struct slice params;      /* raw; read with startup_params() */
	struct slice cancel_key;  /* process id and secret, 8 bytes or more */
	char error[96];
};

/* Looks at the packet that starts at p. All slices point into it. */
enum startup_kind startup_parse(const uint8_t *p, size_t n, struct startup *s);

static inline struct cursor startup_params(const struct startup *s)
{
	return cursor_of((const uint8_t *)s->params.p, s->params.n);
}

/*
 * The next parameter of a STARTUP_MESSAGE; false behind the last. The layout
 * was checked by startup_parse(). Both texts end in a NUL outside their slice.
 */
bool startup_next_param(struct cursor *c, struct slice *name, struct slice *value);

/* The text for an `options` parameter that holds anything else than settings. */
#define STARTUP_OPTIONS_ERROR \
	"unsupported options startup parameter: only '-c config=val' and '--config=val' are allowed"

enum startup_option { STARTUP_OPTION_END, STARTUP_OPTION_OK, STARTUP_OPTION_BAD };

/*
 * Cuts the next setting off *rest, the value of an `options` parameter:
 * `-c name=value`, `-cname=value` or `--name=value`, where a backslash
 * protects the next byte and a dash in the name stands for an underscore.
 * The slices point into `scratch`, a heap strbuf of the caller's that each
 * call overwrites, and end in a NUL outside. BAD also without memory.
 */
enum startup_option startup_next_option(struct slice *rest, struct strbuf *scratch, struct slice *name,
					struct slice *value);

/* Our own StartupMessage (protocol 3.0) to a server: begin, any number of parameters, end. */
size_t startup_begin(struct strbuf *b);
void startup_add_param(struct strbuf *b, struct slice name, struct slice value);
void startup_end(struct strbuf *b, size_t mark);

/* SSLRequest, the same for everybody. */
extern const uint8_t startup_ssl_request[8];

/* CancelRequest with the n raw bytes of a BackendKeyData. */
void startup_out_cancel(struct strbuf *b, const void *key, size_t n);

/* NegotiateProtocolVersion: 3.minor is what will be spoken, and these parameters ("_pq_." ...) we do not know. */
void startup_out_negotiate(struct strbuf *b, unsigned minor, const struct slice *unknown, size_t n);
