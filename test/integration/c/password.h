/*
 * How a client proves that it knows a password: PostgreSQL's md5, and SCRAM-SHA-256 without channel binding. For
 * programs that log in often: what takes long, the password with its salt, is derived once for each salt.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#define PASSWORD_ANSWER_MAX 512

/* What one login remembers from message to message. All zero: it has just begun. */
struct password_exchange {
	char nonce[17];
	uint8_t server_signature[32]; /* which the server is to prove itself with */
};

/*
 * The message that answers an authentication request (the body of an 'R'), into `out`. Returns its size, 0 when there
 * is nothing to say, and -1 when the request cannot be answered, or does not prove that the server knows the password.
 */
int password_answer(struct password_exchange *x, const char *user, const char *password, const uint8_t *request,
		    size_t n, uint8_t out[PASSWORD_ANSWER_MAX]);
