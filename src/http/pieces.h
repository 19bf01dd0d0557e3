/*
 * Answers that are made while they are sent: what comes next is made when
 * there is room for it, so that neither a turn of the loop nor the memory
 * grows with what is told, and nothing is made for one that does not read.
 */
#pragma once
#include <microhttpd.h>

#include "base/str.h"
#include "net/loop.h"
#include "report/table.h"

/* What all answers together may do in one turn of the loop. */
struct pieces_budget {
	struct loop *loop;
	unsigned turn;                   /* the loop's, that it is of */
	unsigned left;                   /* rows or samples */
};

/* First in what tells something. */
struct pieces {
	/* Appends what comes next, and takes from *left what it has looked at. SOME: it is to be called again. */
	enum told (*next)(struct pieces *p, unsigned *left, struct strbuf *out);
	void (*free)(struct pieces *p);
	/* The rest is private to pieces.c. */
	struct pieces_budget *budget;
	struct strbuf made;
	size_t taken;                    /* of what was made */
	bool is_over;
};

/* A response with a body of unknown length. Owns p from then on, or frees it: NULL when out of memory. */
struct MHD_Response *pieces_response(struct pieces *p, struct pieces_budget *budget);
