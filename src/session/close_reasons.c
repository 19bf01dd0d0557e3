#include "session/close_reasons.h"

#include <stddef.h>

const struct close_reason_info close_reasons[CLOSE_REASON_COUNT] = {
#define X(symbol, sqlstate, told, level, text, hint) \
	[CLOSE_##symbol] = {#symbol, sqlstate, told, LOG_LEVEL_##level, text, hint},
	CLOSE_REASONS(X)
#undef X
};
