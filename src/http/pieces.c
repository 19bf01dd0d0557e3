#include "http/pieces.h"

/* They take a fraction of a millisecond: what a query may have to wait for them. */
#define BUDGET_OF_TURN 400

/* What leaves at once. */
#define BLOCK_SIZE ((size_t)16 * 1024)

static unsigned *left_in_turn(struct pieces_budget *b)
{
	unsigned now = ev_iteration(b->loop->ev);

	if (now != b->turn) {
		b->turn = now;
		b->left = BUDGET_OF_TURN;
	}
	return &b->left;
}

/* False: there was no memory. */
static bool make_more(struct pieces *p)
{
	unsigned *left = left_in_turn(p->budget);
	enum told told;

	if (*left == 0)
		return true;
	strbuf_reset(&p->made);
	p->taken = 0;
	told = p->next(p, left, &p->made);
	p->is_over = told == TOLD_ALL;
	return told != TOLD_OUT_OF_MEMORY && !p->made.failed;
}

/* Nothing, and not over: the library asks again in the next turn. */
static ssize_t read_more(void *arg, uint64_t at, char *room, size_t most)
{
	struct pieces *p = arg;
	size_t n;

	(void)at;
	if (p->taken == p->made.n && !p->is_over && !make_more(p))
		return MHD_CONTENT_READER_END_WITH_ERROR;
	n = p->made.n - p->taken;
	if (n == 0)
		return p->is_over ? MHD_CONTENT_READER_END_OF_STREAM : 0;
	n = n < most ? n : most;
	memcpy(room, p->made.p + p->taken, n);
	p->taken += n;
	return (ssize_t)n;
}

static void free_pieces(void *arg)
{
	struct pieces *p = arg;

	strbuf_fini(&p->made);
	p->free(p);
}

struct MHD_Response *pieces_response(struct pieces *p, struct pieces_budget *budget)
{
	struct MHD_Response *r;

	p->budget = budget;
	strbuf_init(&p->made);
	r = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK_SIZE, read_more, p, free_pieces);
	if (r == NULL)
		free_pieces(p);
	return r;
}
