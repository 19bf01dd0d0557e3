/*
 * The capacity check without a running pooler: `pgsluice --capacity FILE`.
 */
#pragma once
#include <stdio.h>

#include "conf/conf.h"

/* As exit statuses. */
enum capacity_result { CAPACITY_CHECK_OK = 0, CAPACITY_CHECK_WARNS = 1, CAPACITY_CHECK_UNKNOWN = 2 };

/*
 * Asks each host that the configuration names once, as the pooler would, and
 * prints SHOW CAPACITY and SHOW CAPACITY_USE with what there is to do. The
 * worst of all hosts is the result, where one that cannot be asked, or none to
 * ask, is worst. Takes over conf's reference.
 */
enum capacity_result capacity_check(struct conf *conf, FILE *out);
