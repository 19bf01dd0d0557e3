/*
 * JSON being written: values one after another into a strbuf, with the commas
 * between them. The text is valid UTF-8 whatever the strings hold: a byte that
 * is part of no character becomes U+FFFD.
 *
 * *out may be emptied between two calls, so that a long text can leave in
 * pieces. Whether there was room for all is out->failed. Objects and arrays are
 * closed by the caller, and a key stands in front of each value of an object:
 * neither is checked.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

struct json {
	struct strbuf *out;
	bool is_behind_value;    /* a comma comes first, unless what follows is an end */
};

void json_init(struct json *j, struct strbuf *out);

void json_object_begin(struct json *j);
void json_object_end(struct json *j);
void json_array_begin(struct json *j);
void json_array_end(struct json *j);

/* The name of the value that comes next. */
void json_key(struct json *j, const char *key);

void json_string(struct json *j, struct slice value);
void json_integer(struct json *j, int64_t value);
void json_boolean(struct json *j, bool value);
void json_null(struct json *j);

/* What is JSON already: a number with a fraction, say. */
void json_verbatim(struct json *j, struct slice value);
