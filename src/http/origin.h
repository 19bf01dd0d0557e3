/*
 * Whether a request that does something comes from our own page, or from
 * someone who means it: a browser sends its user's name and password along
 * with what any other page has it send.
 */
#pragma once
#include <stdbool.h>

#include "http/engine.h"

#define ORIGIN_KEY_SIZE 32
#define ORIGIN_TOKEN_SIZE 65             /* hex digits, NUL */

/* The header that brings it back. */
#define ORIGIN_TOKEN_HEADER "X-CSRF-Token"

/* What a user is told under a login, and nobody else can know. False when the library has no HMAC. */
bool origin_token(const unsigned char key[ORIGIN_KEY_SIZE], const char *user, char token[ORIGIN_TOKEN_SIZE]);

/* NULL: it is our own. Else what is wrong, in words. */
const char *origin_fault(struct exchange *x, const unsigned char key[ORIGIN_KEY_SIZE], const char *user);
