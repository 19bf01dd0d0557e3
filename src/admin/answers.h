/*
 * How commands answer: each of these appends to the request's reply and
 * returns true, as a command's function does that has answered.
 */
#pragma once
#include "admin/commands.h"
#include "admin/reply.h"

/* Who has asked for what, in the log. */
void request_log(const struct request *rq, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* reply_failure(). detail and hint may be NULL. */
bool answer_failure(const struct request *rq, const char *sqlstate, const char *message, const char *detail,
		    const char *hint);

/* The same without a hint. */
bool answer_error(const struct request *rq, const char *sqlstate, const char *message, const char *detail);

/* The statement's argument stands for %s. */
bool answer_error_about(const struct request *rq, const char *sqlstate, const char *format);

/* It went well. */
bool answer_done(const struct request *rq, const char *tag);

/* Text without regard to its case. */
bool is_word(const char *word, const char *expected);
