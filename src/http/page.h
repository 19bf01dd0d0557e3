/*
 * The page, page.html, a part of the program: whatever it needs is in it.
 */
#pragma once
#include "base/str.h"

struct slice page_text(void);

/*
 * The Content-Security-Policy under which its own scripts and styles run, by
 * their hashes, and no others; it may ask its own origin for data. Appends.
 */
void page_policy(struct strbuf *out);
