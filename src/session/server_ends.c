#include "session/server_ends.h"

#include <stddef.h>

const char *server_end_symbol(enum server_end why)
{
	static const char *const symbols[] = {
#define X(symbol, ...) [SERVER_END_##symbol] = #symbol,
		SERVER_ENDS(X)
		SERVER_ENDS_AS_CLIENTS(X)
#undef X
	};

	return symbols[why];
}

const char *server_end_text(enum server_end why)
{
	switch (why) {
#define X(symbol, text) case SERVER_END_##symbol: return text;
	SERVER_ENDS(X)
#undef X
#define X(symbol) case SERVER_END_##symbol: return close_reasons[CLOSE_##symbol].text;
	SERVER_ENDS_AS_CLIENTS(X)
#undef X
	default:
		return NULL;
	}
}

enum server_end server_end_of(enum close_reason why)
{
	switch (why) {
#define X(symbol) case CLOSE_##symbol: return SERVER_END_##symbol;
	SERVER_ENDS_AS_CLIENTS(X)
#undef X
	default:
		return SERVER_END_NOT_READY;
	}
}
