#include "pool/adaptive.h"

/* Waiting time by transaction time from which on clients wait too long. */
#define PRESSURE 0.1

/* So little is none. */
#define NO_PRESSURE (PRESSURE / 1000)

/* Latency by base: up to MAY_GROW it may grow, from STEP_BACK on it goes back to AIM. */
#define MAY_GROW 1.2
#define AIM 1.35
#define STEP_BACK 1.5

/* It goes back to no less than this part at a time, and a probe to this. */
#define MOST_BACK 0.7
#define PROBE 0.9

/* So many at a time are few for any server. */
#define FEW 4

/* So many transactions, or ticks if there are fewer, make a latency. */
#define ENOUGH 50
#define ENOUGH_TICKS 4

#define SECOND_TICKS (1000000 / ADAPTIVE_TICK_US)
#define PROBE_TICKS (10 * SECOND_TICKS)
#define FORGET_TICKS (60 * SECOND_TICKS)
#define WINDOW_TICKS (15 * SECOND_TICKS)

/*
 * A trial with the f-fold is worth what its transactions tell: so many of them,
 * divided by (1 - f) squared, keep chance (times are taken to be spread
 * exponentially) well below what fewer at a time ought to take off. A step
 * back does not wait longer than this for them.
 */
#define TRIAL_ENOUGH 64
#define TRIAL_TICKS (16 * SECOND_TICKS)

/* A trial has failed when less than this part of that came of it. */
#define EFFECT 0.4

/* A part of a limit, at least 1. */
static unsigned part(unsigned limit, unsigned divisor)
{
	return limit > divisor ? limit / divisor : 1;
}

static unsigned scaled(unsigned limit, double factor)
{
	unsigned n = (unsigned)((double)limit * factor + 0.5);

	return n > 0 ? n : 1;
}

static unsigned lesser(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

static void add(struct adaptive_sum *sum, const struct adaptive_sample *s)
{
	sum->finished += s->finished;
	sum->busy_us += s->busy_us;
	sum->nticks++;
}

static double mean_of(const struct adaptive_sum *sum)
{
	return (double)sum->busy_us / (double)sum->finished;
}

/* ------------------------------------------------------------------ what is seen */

static void see_demand(struct adaptive *a, const struct adaptive_sample *s)
{
	double waiting = s->held == 0 ? s->waiting : (double)s->waiting / s->held;
	double waited = s->busy_us == 0 ? 0 : (double)s->waited_us / (double)s->busy_us;

	a->pressure = (a->pressure + (waiting > waited ? waiting : waited)) / 2;
	if (s->held + s->waiting > a->peak)
		a->peak = s->held + s->waiting;
	if (++a->nwindow < WINDOW_TICKS)
		return;
	a->nwindow = 0;
	a->last_peak = a->peak;
	a->peak = s->held + s->waiting;
}

/* Whatever takes long now does not because the pool lets too many run. */
static bool is_quiet(const struct adaptive *a, const struct adaptive_sample *s)
{
	return a->pressure <= PRESSURE && (s->held <= FEW || s->held <= a->limit / 2);
}

/* The base follows what is shorter; what is longer only while few run, and not as fast. Few transactions say little. */
static void see_latency(struct adaptive *a, const struct adaptive_sample *s, double latency)
{
	double weight = (double)a->news.finished / (8 * ENOUGH);

	if (weight > 0.25)
		weight = 0.25;
	a->latency = a->latency == 0 ? latency : (a->latency + latency) / 2;
	if (a->base == 0)
		a->base = latency;
	else if (latency < a->base)
		a->base += (latency - a->base) * weight;
	else if (is_quiet(a, s))
		a->base += (latency - a->base) * weight / 2;
}

static void see_transactions(struct adaptive *a, const struct adaptive_sample *s)
{
	add(&a->news, s);
	if (a->news.finished < ENOUGH && a->news.nticks < ENOUGH_TICKS)
		return;
	if (a->news.finished > 0)
		see_latency(a, s, mean_of(&a->news));
	a->news = (struct adaptive_sum){0};
}

/*
 * Only what runs under one limit, with clients waiting, can be compared with
 * what runs under another; what ends in a limit's first tick has begun before.
 */
static void see_settled(struct adaptive *a, const struct adaptive_sample *s)
{
	if (a->limit != a->settled_limit || s->waiting == 0) {
		a->settled_limit = a->limit;
		a->settled = (struct adaptive_sum){0};
		return;
	}
	add(&a->settled, s);
}

/* ------------------------------------------------------------------ back */

static bool is_enough(const struct adaptive_sum *sum, double factor)
{
	return (double)sum->finished >= TRIAL_ENOUGH / ((1 - factor) * (1 - factor));
}

static bool is_enough_or_late(const struct adaptive_sum *sum, double factor)
{
	return is_enough(sum, factor) || (sum->finished > 0 && sum->nticks >= TRIAL_TICKS);
}

static void begin_trial(struct adaptive *a, double factor, double latency, bool is_probe)
{
	unsigned limit = scaled(a->limit, factor);

	/* With a limit of 1 there is nothing to be learnt. */
	if (limit == a->limit)
		return;
	a->trial = (struct adaptive_trial){.is_on = true, .is_probe = is_probe, .from = a->limit, .latency = latency};
	a->limit = limit;
}

static double factor_back(const struct adaptive *a)
{
	double factor = AIM * a->base / a->latency;

	return factor < MOST_BACK ? MOST_BACK : factor;
}

static void step_back(struct adaptive *a)
{
	a->ceiling = a->limit;
	begin_trial(a, factor_back(a), mean_of(&a->settled), false);
}

/* Of what fewer transactions at a time ought to take off how long each takes, the part that came of it. */
static double effect_of(const struct adaptive *a, double latency)
{
	double factor = (double)a->limit / a->trial.from;

	return (1 - latency / a->trial.latency) / (1 - factor);
}

/* Chance is not to let the base creep up, so two in a row have to fail. */
static void end_trial(struct adaptive *a, double latency)
{
	bool has_failed = effect_of(a, latency) < EFFECT;

	a->trial.is_on = false;
	a->nfailed = has_failed ? a->nfailed + 1 : 0;
	if (a->nfailed > 1) {
		a->base = latency;
		a->nfailed = 0;
	}
	a->latency = latency;
	if (has_failed || a->trial.is_probe)
		a->limit = a->trial.from;
}

/* Without clients that wait, limits have no effect. */
static void give_up_trial(struct adaptive *a)
{
	a->trial.is_on = false;
	if (a->trial.is_probe)
		a->limit = a->trial.from;
}

static void go_on_trying(struct adaptive *a)
{
	double factor;

	a->news = (struct adaptive_sum){0};
	if (a->pressure <= PRESSURE) {
		give_up_trial(a);
		return;
	}
	factor = (double)a->limit / a->trial.from;
	if (a->trial.is_probe ? is_enough(&a->settled, factor) : is_enough_or_late(&a->settled, factor))
		end_trial(a, mean_of(&a->settled));
}

/* ------------------------------------------------------------------ up and down */

/* Beyond the place where it had to go back, slowly. */
static unsigned next_up(const struct adaptive *a)
{
	unsigned known = a->ceiling - a->ceiling / 4;
	unsigned twice = a->limit + (a->limit > FEW ? a->limit : FEW);

	if (a->ceiling == 0)
		return twice;
	if (a->limit < known)
		return lesser(twice, known);
	return a->settled.nticks >= 2 * SECOND_TICKS ? a->limit + part(a->limit, 16) : a->limit;
}

static void grow(struct adaptive *a, const struct adaptive_sample *s)
{
	unsigned asked = s->held + s->waiting, next = next_up(a);

	if (asked <= a->limit)
		asked = a->limit + 1;
	a->limit = lesser(asked, next);
	if (a->ceiling != 0 && a->limit > a->ceiling)
		a->ceiling = a->limit;
}

static void give_back(struct adaptive *a)
{
	unsigned peak = a->peak > a->last_peak ? a->peak : a->last_peak;
	unsigned enough = peak + (peak + 3) / 4;

	if (a->limit > enough && a->nwindow % SECOND_TICKS == 0)
		a->limit -= lesser(part(a->limit, 20), a->limit - enough);
}

static double slowness(const struct adaptive *a)
{
	return a->base == 0 ? 1 : a->latency / a->base;
}

/* How long they take is measured anew, for what was before may have been another load. */
static void be_slow(struct adaptive *a)
{
	if (!a->is_slow)
		a->settled = (struct adaptive_sum){0};
	else if (is_enough_or_late(&a->settled, factor_back(a)))
		step_back(a);
}

static bool is_time_to_probe(const struct adaptive *a)
{
	return a->settled.nticks >= PROBE_TICKS && is_enough(&a->settled, PROBE);
}

static void decide(struct adaptive *a, const struct adaptive_sample *s)
{
	bool wants = a->pressure > PRESSURE && s->held >= a->limit;
	bool is_slow = slowness(a) >= STEP_BACK;

	if (!wants)
		give_back(a);
	else if (is_slow)
		be_slow(a);
	else if (slowness(a) <= MAY_GROW)
		grow(a, s);
	else if (is_time_to_probe(a))
		begin_trial(a, PROBE, mean_of(&a->settled), true);
	a->is_slow = wants && is_slow;
}

unsigned adaptive_tick(struct adaptive *a, const struct adaptive_sample *s, unsigned least, unsigned most)
{
	see_demand(a, s);
	a->ncalm = s->waiting == 0 ? a->ncalm + 1 : 0;
	if (a->ncalm >= FORGET_TICKS)
		a->ceiling = 0;
	see_settled(a, s);
	if (a->trial.is_on) {
		go_on_trying(a);
	} else {
		see_transactions(a, s);
		decide(a, s);
	}
	if (a->limit > most)
		a->limit = most;
	if (a->limit < least)
		a->limit = least;
	return a->limit;
}

bool adaptive_is_at_rest(const struct adaptive *a, unsigned least)
{
	return !a->trial.is_on && a->limit <= least && a->pressure <= NO_PRESSURE && a->peak == 0 && a->last_peak == 0 &&
	       a->ceiling == 0 && a->news.finished == 0;
}
