#include "pool/capacity_rule.h"

#include <inttypes.h>

const char *capacity_state_word(enum capacity_state state)
{
	static const char *const words[] = {
#define X(name, word) [CAPACITY_##name] = word,
		CAPACITY_STATES(X)
#undef X
	};
	return words[state];
}

/* More than can be counted is as good as no bound. */
static uint64_t times(uint64_t a, uint64_t b)
{
	uint64_t product;

	return a == CAPACITY_UNBOUNDED || __builtin_mul_overflow(a, b, &product) ? CAPACITY_UNBOUNDED : product;
}

static uint64_t percent_of(uint64_t part, uint64_t whole)
{
	uint64_t hundredfold = times(part, 100);

	if (hundredfold == CAPACITY_UNBOUNDED || whole == 0)
		return CAPACITY_UNBOUNDED;
	return hundredfold / whole + (hundredfold % whole > 0);
}

static unsigned others_of(const struct capacity_facts *facts)
{
	uint64_t poolers = (uint64_t)facts->own * facts->instances;

	return facts->knows_own && poolers < facts->in_use ? facts->in_use - (unsigned)poolers : 0;
}

/* Nothing may come of what is counted here, so it is a warning at most. */
static bool leaves_no_room(const struct capacity_verdict *v)
{
	return v->needed + v->others > v->usable;
}

static enum capacity_state state_of(const struct capacity_facts *facts, const struct capacity_verdict *v)
{
	if (facts->is_full || v->percent > 100)
		return CAPACITY_OVER;
	if (v->percent >= CAPACITY_WARN_PERCENT || leaves_no_room(v))
		return CAPACITY_WARNING;
	return CAPACITY_OK;
}

unsigned capacity_recommend(const struct capacity_demand *demand, unsigned share, unsigned need)
{
	uint64_t part;

	if (demand->need <= share)
		return need;
	part = (uint64_t)share * need / demand->need;
	return part > 0 ? (unsigned)part : 1;
}

/* Where nothing was measured, equal parts. */
static unsigned recommended_of(const struct capacity_facts *facts, unsigned share)
{
	const struct capacity_demand *d = &facts->demand;
	unsigned part;

	if (d->nmeasured > 0)
		return capacity_recommend(d, share, d->max_need);
	part = d->npools == 0 ? share : share / d->npools;
	return part > 0 ? part : 1;
}

void capacity_judge(const struct capacity_facts *facts, struct capacity_verdict *v)
{
	*v = (struct capacity_verdict){
		.usable = facts->max_connections > facts->reserved ? facts->max_connections - facts->reserved : 0,
		.needed = times(facts->demand.limit, facts->instances),
		.others = others_of(facts),
	};
	v->percent = percent_of(v->needed, v->usable);
	v->share = (unsigned)((uint64_t)v->usable * CAPACITY_WARN_PERCENT / 100 / facts->instances);
	v->recommended = recommended_of(facts, v->share);
	v->state = state_of(facts, v);
}

static void advise_about_sizes(const struct capacity_facts *facts, const struct capacity_verdict *v, struct strbuf *out)
{
	if (v->needed == CAPACITY_UNBOUNDED)
		strbuf_addf(out, "pools without a bound (pool_size = 0) may ask for any number of connections, the server "
				 "takes %u; ", v->usable);
	else
		strbuf_addf(out, "%" PRIu64 " connections of pools times %u instance%s may ask for %" PRIu64
				 " of %u; ",
			    facts->demand.limit, facts->instances, facts->instances == 1 ? "" : "s", v->needed, v->usable);
	strbuf_addf(out, "let the pools of one instance have at most %u, with pool_size or max_db_connections, or raise "
			 "max_connections", v->share);
}

static void separate(struct strbuf *out)
{
	if (out->n > 0)
		strbuf_add_str(out, ". ");
}

void capacity_advise(const struct capacity_facts *facts, const struct capacity_verdict *v, struct strbuf *out)
{
	if (facts->is_full)
		strbuf_add_str(out, "the server refuses connections, all its slots are taken");
	if (v->percent >= CAPACITY_WARN_PERCENT) {
		separate(out);
		advise_about_sizes(facts, v, out);
	} else if (leaves_no_room(v)) {
		separate(out);
		strbuf_addf(out, "%u connections of others leave no room for the %" PRIu64 " that pools may ask for, of %u",
			    v->others, v->needed, v->usable);
	}
	if (facts->demand.per_user != NULL) {
		separate(out);
		strbuf_addf(out, "database %s has a pool for each user, and no bound over them: set max_db_connections",
			    facts->demand.per_user->name->text);
	}
}
