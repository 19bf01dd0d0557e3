/*
 * The configuration: loaded, checked, put in force; RELOAD and SET.
 */
#pragma once
#include "base/str.h"
#include "conf/conf.h"
#include "pooler/state.h"
#include "session/tls_setup.h"

/* The settings of the registry's snapshot, for all that keeps a copy of them. */
void configure_apply(struct pooler *p);

/* Takes over the contexts; servers that were connected otherwise are replaced. */
void configure_use_tls(struct pooler *p, const struct tls_setup *setup);

/* Of struct admin_actions; `arg` is the pooler. False with *error: the former configuration stays in force. */
bool configure_reload(void *arg, struct strbuf *error);
bool configure_set(void *arg, const struct conf_change *change, struct strbuf *error);
