/*
 * SET of the console: of a setting, and of one that a database or user has of
 * its own. Each is a row's function in the table of commands.
 */
#pragma once
#include "admin/commands.h"

bool command_set(const struct request *rq);
bool command_set_database(const struct request *rq);
bool command_set_user(const struct request *rq);
