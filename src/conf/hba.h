/*
 * auth_hba_file: who may log in from where to what, and how it is proved.
 *
 * The format is that of pg_hba.conf, without what a pooler cannot tell (groups,
 * host names, GSSAPI) and without include. A line that is not understood is an
 * error, never passed over: what stands below a `reject` must not come to hold
 * in its place.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/arena.h"
#include "base/str.h"
#include "conf/problems.h"

enum hba_method {
	HBA_TRUST, HBA_REJECT, HBA_MD5, HBA_PASSWORD, HBA_SCRAM_SHA_256, HBA_PEER, HBA_CERT, HBA_LDAP, HBA_PAM,
};

struct hba_rule {
	enum hba_method method;
	const char *map;                 /* peer, cert: in auth_ident_file; NULL when not given */
	const char *pam_service;         /* pam; NULL when not given */
	const char *ldap_options;        /* ldap: the rest of the line as written, quotes too; may hold a password */
	const char *file;                /* where it was written, for messages */
	int line;
};

/* What is known of a client when its startup packet has been read. */
struct hba_request {
	bool is_unix;
	bool is_tls;
	bool is_replication;             /* physical; logical replication goes by its database */
	const struct addr *peer;         /* may be NULL when is_unix */
	struct slice user, database;
};

struct hba;

/*
 * Reads a file, and the @files that it names, into the arena; what cannot be
 * read goes to `problems`. samehost and samenet mean the interfaces as they are
 * now. Never NULL; hba_free() gives back what the arena does not hold, before
 * that ends.
 */
struct hba *hba_read(const char *file, struct arena *arena, struct conf_problems *problems);
void hba_free(struct hba *hba);

/*
 * The first rule that matches, or NULL when there is none, which is a refusal
 * as `reject` is. `hba` may be NULL: there are no rules. An IPv4 address inside
 * IPv6 counts as IPv4.
 */
const struct hba_rule *hba_find(const struct hba *hba, const struct hba_request *request);

/* Whether any rule has this method. `hba` may be NULL. */
bool hba_uses(const struct hba *hba, enum hba_method method);

/* Whether any rule has a password in its options. `hba` may be NULL. */
bool hba_has_password(const struct hba *hba);

/* A number that tells these rules, by the texts of their files, from others; of no rules, 0. */
uint64_t hba_digest(const struct hba *hba);

/* As it is written in the file. */
const char *hba_method_name(enum hba_method method);
