/*
 * How commands answer: each of these appends to the request's reply and
 * returns true, as a command's function does that has answered.
 */
#pragma once
#include "admin/commands.h"
#include "admin/reply.h"

/* reply_failure() without a hint. detail may be NULL. */
bool answer_error(const struct request *rq, const char *sqlstate, const char *message, const char *detail);

/* The statement's argument stands for %s. */
bool answer_error_about(const struct request *rq, const char *sqlstate, const char *format);

/* It went well. */
bool answer_done(const struct request *rq, const char *tag);

/* Text without regard to its case. */
bool is_word(const char *word, const char *expected);
