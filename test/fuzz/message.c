/*
 * Messages of either side: headers, the heads of those that name statements,
 * the fields of errors, and the messages made from them.
 */
#include "fuzz.h"
#include "proto/msg.h"
#include "proto/prepare.h"

#define MAX ((uint32_t)1 << 20)

/* What was written is one whole message of the type. */
static void must_be_message(const struct strbuf *out, char type, size_t rest)
{
	struct msg m;

	must(!out->failed);
	must(msg_peek((const uint8_t *)out->p, out->n, MAX * 4, &m) == PEEK_OK);
	must(m.type == type && m.len == m.have + rest && MSG_HEADER_SIZE + m.have == out->n);
}

static void rename_statement(const struct msg *m, const struct prepare_head *h)
{
	struct prepare_head again;
	struct strbuf out;
	struct msg written;

	if (m->type != 'P' && m->type != 'B' && h->kind != 'S')
		return;
	strbuf_init(&out);
	prepare_out_head(&out, m, h, SLICE_LIT("another"));
	must_be_message(&out, m->type, m->len - h->size);
	msg_peek((const uint8_t *)out.p, out.n, MAX * 4, &written);
	must(prepare_read(&written, &again) == PEEK_OK);
	must(slice_is(again.statement, "another") && slice_eq(again.portal, h->portal) && again.kind == h->kind);
	strbuf_fini(&out);
}

static void read_head(const struct msg *m)
{
	struct prepare_head h;

	if (prepare_read(m, &h) != PEEK_OK)
		return;
	must(h.size <= m->have);
	if (m->type == 'P' && m->have == m->len)
		prepare_is_valid_parse((struct slice){(const char *)m->body + h.size, m->len - h.size});
	rename_statement(m, &h);
}

static void read_error(const struct msg *m)
{
	static const struct prepare_error changes[] = {
		{.from = {"a", 1}, .to = {"a longer name", 13}},
		{.from = {"PGSLUICE_1", 10}, .to = {"", 0}, .at = 3, .shift = -5},
		{.from = {"name", 4}, .to = {"other", 5}, .at = 0, .shift = 100},
	};
	struct error_fields f;

	msg_error_fields(m, &f);
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		struct strbuf out;

		strbuf_init(&out);
		if (prepare_out_error(&out, m, &changes[i]))
			must_be_message(&out, m->type, 0);
		else
			must(out.n == 0);
		strbuf_fini(&out);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct msg m;

	while (msg_peek(data, size, MAX, &m) == PEEK_OK) {
		must(m.have <= m.len && m.have <= size - MSG_HEADER_SIZE);
		if (strchr("PBDC", m.type) != NULL && m.type != '\0')
			read_head(&m);
		if (m.type == 'E' || m.type == 'N')
			read_error(&m);
		data += MSG_HEADER_SIZE + m.have;
		size -= MSG_HEADER_SIZE + m.have;
	}
	return 0;
}
