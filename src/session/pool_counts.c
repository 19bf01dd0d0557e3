#include "session/pool_counts.h"

#include <stddef.h>

const char *pin_symbol(enum pin pin)
{
	static const char *const symbols[] = {
#define X(symbol, text) [PIN_##symbol] = #symbol,
		PINS(X)
#undef X
	};

	return symbols[pin];
}

const char *pin_text(enum pin pin)
{
	static const char *const texts[] = {
#define X(symbol, text) [PIN_##symbol] = text,
		PINS(X)
#undef X
	};

	return texts[pin];
}

static uint64_t sum(const uint64_t *counts, size_t n)
{
	uint64_t total = 0;

	for (size_t i = 0; i < n; i++)
		total += counts[i];
	return total;
}

uint64_t pool_counts_closed(const struct pool_counts *c)
{
	return sum(c->closed, SERVER_END_COUNT);
}

uint64_t pool_counts_client_closes(const struct pool_counts *c)
{
	return sum(c->client_closes, CLOSE_REASON_COUNT);
}

uint64_t pool_counts_login_failures(const struct pool_counts *c)
{
	return sum(c->login_failures, CLOSE_REASON_COUNT);
}

uint64_t pool_counts_pins(const struct pool_counts *c)
{
	return sum(c->pins, PIN_COUNT);
}

uint64_t pool_counts_timeouts(const struct pool_counts *c)
{
	static const enum close_reason timeouts[] = {
		CLOSE_LOGIN_TIMEOUT, CLOSE_LOGIN_TIMEOUT_DOWN,       CLOSE_QUERY_WAIT_TIMEOUT,  CLOSE_CLIENT_IDLE_TIMEOUT,
		CLOSE_QUERY_TIMEOUT, CLOSE_IDLE_TRANSACTION_TIMEOUT, CLOSE_TRANSACTION_TIMEOUT, CLOSE_SUSPEND_TIMEOUT,
	};
	uint64_t total = 0;

	for (size_t i = 0; i < sizeof(timeouts) / sizeof(timeouts[0]); i++)
		total += c->client_closes[timeouts[i]] + c->login_failures[timeouts[i]];
	return total;
}
