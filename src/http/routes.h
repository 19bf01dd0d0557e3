/*
 * The paths there are, and what each answers.
 */
#pragma once
#include "http/access.h"
#include "http/engine.h"
#include "http/gate.h"
#include "http/origin.h"
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
	struct gate gate;
	unsigned char token_key[ORIGIN_KEY_SIZE];
};

/* Answers a request that is whole, or suspends it. */
enum MHD_Result route(struct site *site, struct exchange *x);
