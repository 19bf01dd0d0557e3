/*
 * The one form of request bodies: a JSON object with one member, a string.
 */
#pragma once
#include <stdbool.h>

#include "base/str.h"

/* {"key": "value"}: appends the value. False: the body is anything else, or the value holds a NUL. */
bool request_json_member(struct slice body, const char *key, struct strbuf *value);
