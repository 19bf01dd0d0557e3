/*
 * Files that hold secrets, or say who may do what, and that others than their
 * owner can read or change: a warning for each, with the command that mends it.
 * A group may read passwords (a service's files are often root's, and its own
 * group's), but a private key only where root owns it: PostgreSQL's rule.
 */
#pragma once
#include "conf/conf.h"

/* Looks at the files that the snapshot came from and names. Those that are not there are no concern of this. */
void file_modes_check(const struct conf *conf, struct conf_problems *problems);
