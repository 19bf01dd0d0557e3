#include "http/certificate.h"

#include <openssl/sha.h>

#include "base/attempt.h"
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

struct reading {
	const struct settings *s;
	struct certificate *c;
	struct strbuf *error;
};

static void read_both(void *reading)
{
	const struct reading *r = reading;
	struct certificate *c = r->c;

	c->arena = arena_new();
	c->chain = read_file(c->arena, "http_tls_cert_file", r->s->http_tls_cert_file, r->error);
	c->key = read_file(c->arena, "http_tls_key_file", r->s->http_tls_key_file, r->error);
}

bool certificate_load(const struct settings *s, struct certificate *c, struct strbuf *error)
{
	bool has_chain = s->http_tls_cert_file[0] != '\0', has_key = s->http_tls_key_file[0] != '\0';
	struct reading reading = {s, c, error};

	*c = (struct certificate){0};
	if (!has_chain && !has_key)
		return true;
	if (!has_chain || !has_key) {
		strbuf_addf(error, "%s: %s is missing", has_chain ? "http_tls_cert_file" : "http_tls_key_file",
			    has_chain ? "http_tls_key_file" : "http_tls_cert_file");
		return false;
	}
	if (!attempt(read_both, &reading)) {
		*c = (struct certificate){0};
		strbuf_addf(error, "http_tls_key_file: %s: out of memory", s->http_tls_key_file);
		return false;
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
