/* The first packet of a connection, the parameters in it, and the settings in its `options`. */
#include "fuzz.h"
#include "proto/startup.h"

static void read_options(struct slice options)
{
	struct slice name, value;
	struct strbuf scratch;

	strbuf_init(&scratch);
	while (startup_next_option(&options, &scratch, &name, &value) == STARTUP_OPTION_OK) {
		must(name.p[name.n] == '\0' && value.p[value.n] == '\0');
		must(name.p >= scratch.p && value.p + value.n <= scratch.p + scratch.n);
	}
	strbuf_fini(&scratch);
}

/* Written by us, a packet of these parameters is read the same. */
static void write_again(const struct startup *s)
{
	struct cursor read = startup_params(s), again;
	struct slice name, value, name2, value2;
	struct startup written;
	struct strbuf out;
	size_t mark;

	strbuf_init(&out);
	mark = startup_begin(&out);
	while (startup_next_param(&read, &name, &value))
		startup_add_param(&out, name, value);
	startup_end(&out, mark);
	if (out.n - 4 <= STARTUP_MAX_SIZE) {
		must(startup_parse((const uint8_t *)out.p, out.n, &written) == STARTUP_MESSAGE && written.size == out.n);
		read = startup_params(s);
		again = startup_params(&written);
		while (startup_next_param(&read, &name, &value)) {
			must(startup_next_param(&again, &name2, &value2));
			must(slice_eq(name, name2) && slice_eq(value, value2));
		}
		must(!startup_next_param(&again, &name2, &value2));
	}
	strbuf_fini(&out);
}

static void read_params(const struct startup *s)
{
	struct cursor cursor = startup_params(s);
	struct slice name, value;

	while (startup_next_param(&cursor, &name, &value)) {
		must(name.p[name.n] == '\0' && value.p[value.n] == '\0');
		if (slice_is(name, "options"))
			read_options(value);
	}
	write_again(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct startup s;

	switch (startup_parse(data, size, &s)) {
	case STARTUP_SHORT:
		must(s.size == 0 || s.size > size);
		break;
	case STARTUP_BAD:
		must(strnlen(s.error, sizeof(s.error)) < sizeof(s.error));
		break;
	case STARTUP_CANCEL:
		must(s.cancel_key.n >= STARTUP_CANCEL_KEY_MIN && s.cancel_key.n <= STARTUP_CANCEL_KEY_MAX);
		break;
	case STARTUP_MESSAGE:
		must(s.size <= size);
		read_params(&s);
		break;
	case STARTUP_SSL_REQUEST:
	case STARTUP_GSSENC_REQUEST:
	case STARTUP_OLD_PROTOCOL:
		break;
	}
	return 0;
}
