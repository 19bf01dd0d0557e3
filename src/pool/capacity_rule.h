/*
 * Whether one server has the connection slots that its poolers may ask for,
 * and what size pools should have. Arithmetic only.
 *
 * The rule (see doc/architecture.md): what all instances of the pooler may open
 * together, limit times instances, has to fit into max_connections without the
 * reserved slots. From CAPACITY_WARN_PERCENT of that on it is a warning, since
 * others want slots too (dumps, monitoring, an administrator); beyond 100
 * clients will be refused by the server. The connections of others that are
 * there now count for this as well, but not in the percentage, which so changes
 * only when somebody changes something.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"
#include "pool/capacity_demand.h"

#define CAPACITY_WARN_PERCENT 85

/* X(name, word) */
#define CAPACITY_STATES(X)     \
	X(UNKNOWN, "unknown")  \
	X(OK, "ok")            \
	X(WARNING, "warning")  \
	X(OVER, "over")

enum capacity_state {
#define X(name, word) CAPACITY_##name,
	CAPACITY_STATES(X)
#undef X
};

const char *capacity_state_word(enum capacity_state state);

struct capacity_facts {
	unsigned max_connections, reserved;
	unsigned in_use;
	unsigned own;                    /* of these, this pooler's */
	bool knows_own;                  /* else nobody knows how many of them are poolers' */
	unsigned instances;              /* at least 1 */
	bool is_full;                    /* the server has refused us for want of a slot */
	struct capacity_demand demand;
};

struct capacity_verdict {
	enum capacity_state state;
	unsigned usable;                 /* slots for all that is not reserved */
	uint64_t needed;                 /* limit times instances, or CAPACITY_UNBOUNDED */
	uint64_t percent;                /* of usable, rounded up; CAPACITY_UNBOUNDED: no number */
	unsigned others;                 /* connections that seem to be nobody's of the poolers' */
	unsigned share;                  /* slots for all pools of one instance, with some to spare */
	unsigned recommended;            /* the size for the pools of one instance */
};

/* Other instances are taken to have as many connections as this one. */
void capacity_judge(const struct capacity_facts *facts, struct capacity_verdict *verdict);

/*
 * The size for a pool that needs so much (capacity_pool_need(), not 0): that,
 * while all that was measured fits into the share; else its part of the share,
 * but at least 1.
 */
unsigned capacity_recommend(const struct capacity_demand *demand, unsigned share, unsigned need);

/* What there is to do, in one line; empty when nothing is. */
void capacity_advise(const struct capacity_facts *facts, const struct capacity_verdict *verdict, struct strbuf *out);
