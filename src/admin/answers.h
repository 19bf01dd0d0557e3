/*
 * How commands answer: each of these appends to the request's reply and
 * returns true, as a command's function does that has answered.
 */
#pragma once
#include "admin/commands.h"

#define CONFIG_FILE_ERROR "F0000"
#define INSUFFICIENT_PRIVILEGE "42501"
#define INVALID_CATALOG_NAME "3D000"
#define INVALID_PARAMETER_VALUE "22023"
#define NOT_IN_PREREQUISITE_STATE "55000"
#define OUT_OF_MEMORY "53200"
#define SYNTAX_ERROR "42601"
#define UNDEFINED_OBJECT "42704"

/* The settings have a say in the SQLSTATE, and in whether it is logged. detail may be NULL. */
bool answer_error(const struct request *rq, const char *sqlstate, const char *message, const char *detail);

/* The statement's argument stands for %s. */
bool answer_error_about(const struct request *rq, const char *sqlstate, const char *format);

/* It went well. */
bool answer_done(const struct request *rq, const char *tag);

/* Text without regard to its case. */
bool is_word(const char *word, const char *expected);
