#include "control/connection_target.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/sys.h"

/* Where in the struct its texts are. */
static const size_t texts[] = {
	offsetof(struct connection_target, host),         offsetof(struct connection_target, tls.sslmode),
	offsetof(struct connection_target, tls.ca_file),  offsetof(struct connection_target, tls.cert_file),
	offsetof(struct connection_target, tls.key_file), offsetof(struct connection_target, dbname),
	offsetof(struct connection_target, user),         offsetof(struct connection_target, password),
};

#define TEXT_COUNT (sizeof(texts) / sizeof(texts[0]))

static const char *text_of(const struct connection_target *target, size_t i)
{
	const char *text;

	memcpy(&text, (const char *)target + texts[i], sizeof(text));
	return text;
}

static void set_text(struct connection_target *target, size_t i, const char *text)
{
	memcpy((char *)target + texts[i], &text, sizeof(text));
}

static bool is_same_text(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

bool connection_target_eq(const struct connection_target *a, const struct connection_target *b)
{
	if (a->port != b->port || a->statement_timeout_us != b->statement_timeout_us)
		return false;
	for (size_t i = 0; i < TEXT_COUNT; i++)
		if (!is_same_text(text_of(a, i), text_of(b, i)))
			return false;
	return true;
}

bool connection_target_copy(struct connection_target *copy, const struct connection_target *target)
{
	struct connection_target c = {.port = target->port, .statement_timeout_us = target->statement_timeout_us};

	for (size_t i = 0; i < TEXT_COUNT; i++) {
		const char *text = text_of(target, i);
		char *own = text == NULL ? NULL : strdup(text);

		if (text != NULL && own == NULL) {
			connection_target_wipe(&c);
			return false;
		}
		set_text(&c, i, own);
	}
	*copy = c;
	return true;
}

void connection_target_wipe(struct connection_target *copy)
{
	for (size_t i = 0; i < TEXT_COUNT; i++) {
		char *text = (char *)text_of(copy, i);

		sys_wipe_text(&text);
	}
	*copy = (struct connection_target){0};
}
