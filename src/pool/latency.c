#include "pool/latency.h"

const char *latency_name(enum latency_kind kind)
{
	static const char *const names[] = {
#define X(symbol, name) [LATENCY_##symbol] = name,
		LATENCIES(X)
#undef X
	};

	return names[kind];
}
