/*
 * The paths there are, and what each answers.
 */
#pragma once
#include "http/access.h"
#include "http/engine.h"
#include "http/pieces.h"
#include "http/server.h"
#include "report/table.h"

/* What answers are made from. */
struct site {
	struct hub *hub;
	const struct report *report;
	const struct http_actions *actions;
	struct pieces_budget budget;
	struct strbuf page_policy;
};

/* Answers a request that is whole. */
enum MHD_Result route(struct site *site, struct exchange *x);
