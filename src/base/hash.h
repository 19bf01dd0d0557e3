/*
 * uthash under the pooler's rules: hashes are keyed, so that nobody outside can
 * choose names that fall together, and an element for which there is no memory
 * stays out of its table instead of ending the program. Include this, never
 * <uthash.h>.
 */
#pragma once
#include "base/siphash.h"

#define HASH_FUNCTION(key, size, value) ((value) = (unsigned)siphash_here((key), (size)))
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

/* Asked after each HASH_ADD: false, the element is as it was before, and its table, too. */
#define HASH_HAS(element) ((element)->hh.tbl != NULL)
