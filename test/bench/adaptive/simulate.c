/*
 * pool_size_mode = adaptive against fixed sizes on three shapes of load, in
 * simulated time (model.h). The server is at its best with 20 transactions.
 *
 * What to look at: a small fixed size is slow whenever there is load, a large
 * one whenever there is much; a size that is right for the server has to be
 * known. The adaptive one finds it, and holds few servers when few are needed.
 *
 *   make test/bench/adaptive/simulate && test/bench/adaptive/simulate
 */
#include <stdio.h>

#include "model.h"

#define SECONDS 240
#define TICKS_PER_SECOND (1000000 / ADAPTIVE_TICK_US)
#define MOST 100

static unsigned steady(unsigned tick)
{
	(void)tick;
	return 120;
}

/* A few, and for 10 seconds of each minute many. */
static unsigned bursts(unsigned tick)
{
	return tick / TICKS_PER_SECOND % 60 >= 50 ? 300 : 10;
}

/* A day of two minutes. */
static unsigned daily(unsigned tick)
{
	return (unsigned)(105 - 100 * cos(2 * M_PI * tick / (120.0 * TICKS_PER_SECOND)));
}

static const struct shape {
	const char *name;
	unsigned (*clients)(unsigned tick);
} shapes[] = {{"steady", steady}, {"bursts", bursts}, {"daily", daily}};

static const unsigned sizes[] = {5, 20, 40, 100, 0};

static struct model model;

/* size 0: adaptive */
static void run(const struct shape *shape, unsigned size)
{
	struct adaptive a = {0};
	uint64_t sum = 0, held = 0;
	unsigned least = MOST, most = 0;
	char name[16] = "adaptive";

	model_init(&model, size == 0 ? 1 : size, 1);
	for (unsigned tick = 0; tick < SECONDS * TICKS_PER_SECOND; tick++) {
		model.nclients = shape->clients(tick);
		model_tick(&model, size == 0 ? &a : NULL, 1, MOST);
		sum += model.limit;
		held += model.held;
		least = model.limit < least ? model.limit : least;
		most = model.limit > most ? model.limit : most;
	}
	if (size > 0)
		snprintf(name, sizeof(name), "%u", size);
	printf("%-8s %-10s %10.0f %8.1f %6u %6u %6u %10.1f %6u %6u %8.1f\n", shape->name, name,
	       (double)model.nanswers / SECONDS, model.answered_us / 1000 / (double)model.nanswers,
	       model_percentile(&model, .5), model_percentile(&model, .95), model_percentile(&model, .99),
	       (double)sum / (SECONDS * TICKS_PER_SECOND), least, most, (double)held / (SECONDS * TICKS_PER_SECOND));
}

int main(void)
{
	printf("%-8s %-10s %10s %8s %6s %6s %6s %10s %6s %6s %8s\n", "load", "pool_size", "answers/s", "mean ms", "p50",
	       "p95", "p99", "mean limit", "least", "most", "held");
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
		for (size_t k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++)
			run(&shapes[i], sizes[k]);
	return 0;
}
