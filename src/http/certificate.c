#include "http/certificate.h"

#include <openssl/sha.h>

#include "base/sys.h"
#include "conf/textfile.h"

/* NULL, with *error. */
static const char *read_file(struct arena *arena, const char *setting, const char *file, struct strbuf *error)
{
	struct slice text;
	const char *why, *copy;

	if (!textfile_read(file, arena, &text, &why)) {
		strbuf_addf(error, "%s: %s: %s", setting, file, why);
		return NULL;
	}
	copy = arena_copy(arena, text);
	sys_wipe((char *)(uintptr_t)text.p, text.n);
	return copy;
}

static void digest(struct certificate *c)
{
	uint8_t sums[2 * SHA256_DIGEST_LENGTH];

	SHA256((const unsigned char *)c->chain, strlen(c->chain), sums);
	SHA256((const unsigned char *)c->key, strlen(c->key), sums + SHA256_DIGEST_LENGTH);
	SHA256(sums, sizeof(sums), c->digest);
}

bool certificate_load(const struct settings *s, struct certificate *c, struct strbuf *error)
{
	bool has_chain = s->http_tls_cert_file[0] != '\0', has_key = s->http_tls_key_file[0] != '\0';

	*c = (struct certificate){.arena = arena_new()};
	if (!has_chain && !has_key)
		return true;
	if (!has_chain || !has_key) {
		strbuf_addf(error, "%s: %s is missing", has_chain ? "http_tls_cert_file" : "http_tls_key_file",
			    has_chain ? "http_tls_key_file" : "http_tls_cert_file");
	} else {
		c->chain = read_file(c->arena, "http_tls_cert_file", s->http_tls_cert_file, error);
		c->key = read_file(c->arena, "http_tls_key_file", s->http_tls_key_file, error);
	}
	if (c->chain == NULL || c->key == NULL) {
		certificate_free(c);
		return false;
	}
	digest(c);
	return true;
}

void certificate_free(struct certificate *c)
{
	if (c->key != NULL)
		sys_wipe((char *)(uintptr_t)c->key, strlen(c->key));
	arena_free(c->arena);
	*c = (struct certificate){0};
}
