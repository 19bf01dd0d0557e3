/*
 * UTF-8 (RFC 3629): what of a text is characters.
 */
#pragma once
#include "base/str.h"

/* In the place of a byte that is part of no character, where the text has to be valid. */
#define UTF8_REPLACEMENT "\xef\xbf\xbd"

/* How many bytes the character at the beginning of a text, which is not empty, takes; 0: what is there is none. */
size_t utf8_character(struct slice text);
