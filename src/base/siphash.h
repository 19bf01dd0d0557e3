/*
 * SipHash-1-3, a hash under a key (Aumasson and Bernstein, 2012): who does not
 * know the key cannot choose texts that fall together. For tables whose keys
 * come from clients.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#define SIPHASH_KEY_SIZE 16

uint64_t siphash(const uint8_t key[SIPHASH_KEY_SIZE], const void *p, size_t n);

/* Under a key that this process has made for itself: the same only while it runs. */
uint64_t siphash_here(const void *p, size_t n);
