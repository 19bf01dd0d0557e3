/*
 * Responses: a status, a body and the headers that each has.
 */
#pragma once
#include "http/engine.h"
#include "http/pieces.h"

#define TYPE_JSON "application/json"
#define TYPE_TEXT "text/plain; charset=utf-8"

/* The text is copied. */
enum MHD_Result respond_text(struct exchange *x, unsigned status, const char *type, struct slice text);

/* What was built, unless there was no memory for it. Ends *text. */
enum MHD_Result respond_built(struct exchange *x, unsigned status, const char *type, struct strbuf *text);

/* Owns p; NULL: there was no memory. */
enum MHD_Result respond_pieces(struct exchange *x, const char *type, struct pieces *p, struct pieces_budget *budget);

/* {"error": "..."} */
enum MHD_Result respond_error(struct exchange *x, unsigned status, const char *message);

/* The same, asking for a name and a password. */
enum MHD_Result respond_unauthorized(struct exchange *x);

/* The same for a method that the path does not have; `allowed`: those that it has. */
enum MHD_Result respond_not_allowed(struct exchange *x, const char *allowed);

/* What is wanted is there. */
enum MHD_Result respond_see(struct exchange *x, const char *path);

/* A page that is part of the program, and what it may do (Content-Security-Policy). */
enum MHD_Result respond_page(struct exchange *x, struct slice page, const char *policy);
