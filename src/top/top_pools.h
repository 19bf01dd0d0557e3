/*
 * The table of pools: POOLS, with the size that DATABASES tells and what STATS have counted.
 */
#pragma once
#include "top/top_reading.h"
#include "top/top_table.h"

/*
 * Fills an empty table. Columns that the peer does not have are left out, and
 * so are the console's pools. STATS count by database: the pools of its users
 * have the same rates and means.
 */
void top_pools_tell(const struct top_reading *before, const struct top_reading *now, const char *console,
		    struct top_table *t);
