/*
 * PostgreSQL's md5 passwords: what is stored, and what crosses the wire.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

#define MD5_SALT_SIZE 4
#define MD5_TEXT_SIZE 36               /* "md5", 32 hex digits, NUL */

/* The stored form. False where OpenSSL has no MD5 (FIPS). */
bool md5_secret(struct slice password, struct slice user, char out[MD5_TEXT_SIZE]);

/* The answer to a salt, made from the stored form. */
bool md5_response(const char secret[MD5_TEXT_SIZE], const uint8_t salt[MD5_SALT_SIZE], char out[MD5_TEXT_SIZE]);
