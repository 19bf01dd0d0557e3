/*
 * Whether this program can do what a configuration asks of it: PAM and LDAP
 * are built in or not.
 */
#pragma once
#include <stdbool.h>

#include "conf/conf.h"

/* Adds an error to `problems` for each method that is not built in. */
void auth_support_check(const struct conf *conf, struct conf_problems *problems);
