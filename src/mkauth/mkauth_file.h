/*
 * A file that is replaced whole, or not at all.
 */
#pragma once
#include <stdbool.h>

#include "base/str.h"

/*
 * A reader sees the old text or the new one. A new file is its owner's alone (mode 0600); in the place of one that is
 * there it takes over owner, group and mode, but for rights that a file with passwords does not give (conf/file_modes).
 * Of a symbolic link the target is replaced. False, and *error says why: nothing has changed.
 */
bool mkauth_file_replace(const char *file, struct slice text, struct strbuf *error);
