/* The body of a command that comes over HTTP, and any text as JSON that we write. */
#include "base/json.h"
#include "base/utf8.h"
#include "fuzz.h"
#include "http/request_json.h"

#define KEY "command"

static void read_body(struct slice body)
{
	struct strbuf value;

	strbuf_init(&value);
	if (request_json_member(body, KEY, &value))
		must(!value.failed && (value.n == 0 || memchr(value.p, '\0', value.n) == NULL));
	strbuf_fini(&value);
}

/* What we write can be read, and is the same if it was text. */
static void write_and_read(struct slice text)
{
	struct strbuf out, value;
	struct json json;

	if (text.n > 0 && memchr(text.p, '\0', text.n) != NULL)
		return;
	strbuf_init(&out);
	strbuf_init(&value);
	json_init(&json, &out);
	json_object_begin(&json);
	json_key(&json, KEY);
	json_string(&json, text);
	json_object_end(&json);
	must(request_json_member(strbuf_slice(&out), KEY, &value));
	if (!slice_eq(strbuf_slice(&value), text)) {
		struct slice rest = text;
		size_t n;

		while (rest.n > 0 && (n = utf8_character(rest)) > 0)
			rest = (struct slice){rest.p + n, rest.n - n};
		must(rest.n > 0);
	}
	strbuf_fini(&value);
	strbuf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice input = {(const char *)data, size};

	read_body(input);
	write_and_read(input);
	return 0;
}
