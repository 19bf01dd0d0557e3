/*
 * SHA-256, HMAC-SHA-256 and MD5.
 *
 * OpenSSL's functions of one call, SHA256() and HMAC(), look for their
 * algorithm by its name each time, which takes ten times as long as hashing
 * what a login has to be hashed. Here it is found once, and so is the memory.
 *
 * All are false when OpenSSL has no memory, or has not got the algorithm (MD5
 * with FIPS).
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

#define DIGEST_SHA256_SIZE 32
#define DIGEST_MD5_SIZE 16

bool digest_sha256(struct slice text, uint8_t out[DIGEST_SHA256_SIZE]);

/* Of one text behind the other. */
bool digest_md5(struct slice first, struct slice second, uint8_t out[DIGEST_MD5_SIZE]);

/* RFC 2104. A key is padded to SHA-256's block. False for longer ones, which would have to be hashed first. */
#define DIGEST_HMAC_KEY_MAX 64
bool digest_hmac_sha256(struct slice key, struct slice text, uint8_t out[DIGEST_SHA256_SIZE]);
