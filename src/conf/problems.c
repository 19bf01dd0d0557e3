#include "conf/problems.h"

void conf_problems_init(struct conf_problems *p)
{
	strbuf_init(&p->errors);
	strbuf_init(&p->warnings);
	strbuf_init(&p->notes);
	p->nerrors = p->nwarnings = 0;
}

void conf_problems_fini(struct conf_problems *p)
{
	strbuf_fini(&p->errors);
	strbuf_fini(&p->warnings);
	strbuf_fini(&p->notes);
}

/* Bytes from 128 up are left alone: they are letters in UTF-8. */
static void add_visible(struct strbuf *out, struct slice text)
{
	for (size_t i = 0; i < text.n; i++) {
		unsigned char c = (unsigned char)text.p[i];

		if (c < ' ' || c == 127)
			strbuf_addf(out, "\\x%02x", c);
		else
			strbuf_add_char(out, (char)c);
	}
}

static void add_line(struct strbuf *out, struct conf_place at, const char *format, va_list ap)
{
	struct strbuf text;

	strbuf_init(&text);
	strbuf_addv(&text, format, ap);
	add_visible(out, slice_of(at.file));
	if (at.line > 0)
		strbuf_addf(out, ":%d", at.line);
	strbuf_add_str(out, ": ");
	add_visible(out, strbuf_slice(&text));
	strbuf_add_char(out, '\n');
	strbuf_fini(&text);
}

void conf_error(struct conf_problems *p, struct conf_place at, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	add_line(&p->errors, at, format, ap);
	va_end(ap);
	p->nerrors++;
}

void conf_warning(struct conf_problems *p, struct conf_place at, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	add_line(&p->warnings, at, format, ap);
	va_end(ap);
	p->nwarnings++;
}

void conf_note(struct conf_problems *p, struct conf_place at, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	add_line(&p->notes, at, format, ap);
	va_end(ap);
}
