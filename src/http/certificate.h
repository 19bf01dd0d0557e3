/*
 * The certificate and the key that HTTP over TLS needs: what is in the files
 * that the settings name.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "conf/settings.h"

struct certificate {
	const char *chain, *key;         /* PEM; both NULL: HTTP is spoken without TLS */
	uint8_t digest[32];              /* of both: whether they have changed */
	struct arena *arena;
};

/* Reads them. False, and *error, which begins with the name of the setting that is at fault. */
bool certificate_load(const struct settings *s, struct certificate *c, struct strbuf *error);

/* Wipes and frees it. */
void certificate_free(struct certificate *c);
