/*
 * Connection strings: `key=value` pairs with blanks between them, as the
 * entries of [databases], [users] and [peers] have them. A value may stand in
 * 'single quotes', with '' for one, and must when it is empty or has blanks.
 * Blanks around the "=" are allowed.
 */
#pragma once
#include "base/arena.h"
#include "base/str.h"

struct connstr_pair {
	struct slice key, value;       /* the value without its quotes, ended by a NUL, in the arena */
};

enum connstr_step { CONNSTR_PAIR, CONNSTR_END, CONNSTR_BAD };

/*
 * Cuts the next pair off *rest. On CONNSTR_BAD *error says what is wrong,
 * without any of the text, which may be a password, and pair->key is the key if
 * one was found, else empty.
 */
enum connstr_step connstr_next(struct slice *rest, struct arena *arena, struct connstr_pair *pair, const char **error);
