/*
 * Commands about what runs: databases, their servers, clients. Each is a row's
 * function in the table of commands.
 */
#pragma once
#include "admin/commands.h"

bool command_pause(const struct request *rq);
bool command_suspend(const struct request *rq);
bool command_resume(const struct request *rq);
bool command_kill(const struct request *rq);
bool command_kill_client(const struct request *rq);
bool command_disable(const struct request *rq);
bool command_enable(const struct request *rq);
bool command_reconnect(const struct request *rq);
bool command_wait_close(const struct request *rq);
