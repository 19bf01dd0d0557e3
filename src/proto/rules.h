/*
 * What each message means to a pooler (PostgreSQL manual, 55.7 Message
 * Formats): one table for each direction, looked up by the type byte.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

/* What is done with a message that a logged-in client sends. */
enum client_rule {
	REQUEST_REJECT,           /* no such message, or not at this time: all bytes the tables do not name */
	REQUEST_FORWARD,          /* to the server, which is acquired if need be */
	REQUEST_COPY,             /* COPY data and its end: to the server if there is one, else left over and dropped */
	REQUEST_TERMINATE,        /* answered here */
};

/* What a message of a server tells us; all but REJECT go on to the client. */
enum server_rule {
	REPLY_REJECT,           /* not known, or only allowed during login */
	REPLY_PASS,             /* nothing: rows and the like */
	REPLY_STEP,             /* may complete one step of the extended protocol, or shows that a request was answered */
	REPLY_ERROR,
	REPLY_READY,
	REPLY_COPY_IN,
	REPLY_PARAMETER,
};

/*
 * PostgreSQL (since 14: src/include/libpq/libpq.h) closes the connection, and says nothing, at a longer message than this,
 * length word included: what is to be run or stored; anything else.
 */
#define REQUEST_LARGE_MAX ((uint32_t)0x3ffffffe)
#define REQUEST_SMALL_MAX ((uint32_t)10000)

/* For the next: one that is longer than the smaller of these. */
__attribute__((cold))
bool client_large_is_too_long(char type, uint32_t len);

/* Whether a message of a client, with a body so long, is longer than any server takes. */
static inline bool client_is_too_long(char type, uint32_t len)
{
	return len > REQUEST_SMALL_MAX - sizeof(uint32_t) && client_large_is_too_long(type, len);
}

extern const uint8_t client_rules[256];
extern const uint8_t server_rules[256];

static inline enum client_rule client_rule(char type)
{
	return (enum client_rule)client_rules[(unsigned char)type];
}

static inline enum server_rule server_rule(char type)
{
	return (enum server_rule)server_rules[(unsigned char)type];
}
