#include "net/tls_recipe.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/sys.h"
#include "net/tls_settings.h"

/* Larger files than this are no certificates. */
#define MAX_FILE (16u << 20)

/* The whole of f, at most MAX_FILE; errno says why not. */
static bool read_all(FILE *f, struct tls_file *file)
{
	size_t room = 0;

	file->n = 0;
	do {
		char *p;

		room = room == 0 ? 4096 : 2 * room;
		if (room > MAX_FILE) {
			errno = EFBIG;
			return false;
		}
		/* Not realloc(): it might leave a copy of a key behind. */
		p = malloc(room);
		if (p == NULL)
			return false;
		if (file->p != NULL) {
			memcpy(p, file->p, file->n);
			sys_wipe(file->p, file->n);
			free(file->p);
		}
		file->p = p;
		file->n += fread(p + file->n, 1, room - file->n, f);
	} while (file->n == room);
	return ferror(f) == 0;
}

static bool read_file(const struct tls_recipe *r, const char *setting, const char *path, struct tls_file *file,
		      struct strbuf *error)
{
	FILE *f;
	bool ok;

	if (path[0] == '\0')
		return true;
	f = fopen(path, "re");
	/* Unbuffered, so that no other copy of a key stays behind in the heap. */
	ok = f != NULL && setvbuf(f, NULL, _IONBF, 0) == 0 && read_all(f, file);
	if (!ok)
		strbuf_addf(error, "%s%s: cannot read \"%s\": %s", tls_setting_prefix(r->role), setting, path,
			    strerror(errno));
	if (f != NULL)
		fclose(f);
	return ok;
}

static void forget_file(struct tls_file *file)
{
	if (file->p == NULL)
		return;
	sys_wipe(file->p, file->n);
	free(file->p);
}

static enum tls_verify verify_of(enum tls_role role, const struct tls_options *o)
{
	if (o->mode == TLS_VERIFY_FULL && role == TLS_TO_SERVERS)
		return CHECK_CHAIN_AND_NAME;
	/* There is no host name to check a client against: its CN is a matter of auth_type cert. */
	if (o->mode >= TLS_VERIFY_CA)
		return CHECK_CHAIN;
	return role == TLS_TO_CLIENTS && o->ca_file[0] != '\0' ? CHECK_IF_GIVEN : CHECK_NOTHING;
}

static const char *or_empty(const char *s)
{
	return s != NULL ? s : "";
}

static void init_recipe(struct tls_recipe *r, enum tls_role role, const struct tls_options *o)
{
	*r = (struct tls_recipe){.role = role, .options = *o};
	r->options.ca_file = or_empty(o->ca_file);
	r->options.cert_file = or_empty(o->cert_file);
	r->options.key_file = or_empty(o->key_file);
	r->options.protocols = or_empty(o->protocols);
	r->options.ciphers = or_empty(o->ciphers);
	r->options.tls13_ciphers = or_empty(o->tls13_ciphers);
	r->options.ecdhcurve = or_empty(o->ecdhcurve);
	r->options.dheparams = or_empty(o->dheparams);
	r->verify = verify_of(role, &r->options);
	/* A CA that nobody is checked against makes no difference. */
	if (r->verify == CHECK_NOTHING)
		r->options.ca_file = "";
}

static bool check_files(const struct tls_recipe *r, struct strbuf *error)
{
	const struct tls_options *o = &r->options;
	const char *prefix = tls_setting_prefix(r->role);

	if (r->role == TLS_TO_CLIENTS && (o->cert_file[0] == '\0' || o->key_file[0] == '\0')) {
		strbuf_addf(error, "%stls_sslmode requires %stls_cert_file and %stls_key_file", prefix, prefix, prefix);
		return false;
	}
	if (r->role == TLS_TO_CLIENTS && r->verify == CHECK_CHAIN && o->ca_file[0] == '\0') {
		strbuf_addf(error, "%stls_sslmode verify-ca or verify-full requires %stls_ca_file", prefix, prefix);
		return false;
	}
	if ((o->cert_file[0] == '\0') != (o->key_file[0] == '\0')) {
		strbuf_addf(error, "%stls_cert_file and %stls_key_file must be set together", prefix, prefix);
		return false;
	}
	return true;
}

static bool read_files(struct tls_recipe *r, struct strbuf *error)
{
	return check_files(r, error) && read_file(r, "tls_ca_file", r->options.ca_file, &r->ca, error) &&
	       read_file(r, "tls_cert_file", r->options.cert_file, &r->cert, error) &&
	       read_file(r, "tls_key_file", r->options.key_file, &r->key, error);
}

/* With its length, so that no two recipes are the same bytes. */
static bool hash_piece(EVP_MD_CTX *md, const void *p, size_t n)
{
	return EVP_DigestUpdate(md, &n, sizeof(n)) == 1 && (n == 0 || EVP_DigestUpdate(md, p, n) == 1);
}

static bool hash_text(EVP_MD_CTX *md, const char *s)
{
	return hash_piece(md, s, strlen(s));
}

static bool hash_recipe(struct tls_recipe *r)
{
	const struct tls_options *o = &r->options;
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	int flags[] = {(int)r->role, (int)r->verify, o->ktls};
	bool ok = md != NULL && EVP_DigestInit_ex2(md, EVP_sha256(), NULL) == 1 &&
		  hash_piece(md, flags, sizeof(flags)) && hash_text(md, o->protocols) && hash_text(md, o->ciphers) &&
		  hash_text(md, o->tls13_ciphers) && hash_text(md, o->ecdhcurve) && hash_text(md, o->dheparams) &&
		  hash_piece(md, r->ca.p, r->ca.n) && hash_piece(md, r->cert.p, r->cert.n) &&
		  hash_piece(md, r->key.p, r->key.n) && EVP_DigestFinal_ex(md, r->hash, NULL) == 1;

	EVP_MD_CTX_free(md);
	return ok;
}

bool tls_recipe_init(struct tls_recipe *r, enum tls_role role, const struct tls_options *options, struct strbuf *error)
{
	init_recipe(r, role, options);
	if (!read_files(r, error))
		return false;
	if (hash_recipe(r))
		return true;
	strbuf_add_str(error, "out of memory");
	return false;
}

void tls_recipe_fini(struct tls_recipe *r)
{
	forget_file(&r->ca);
	forget_file(&r->cert);
	forget_file(&r->key);
}
