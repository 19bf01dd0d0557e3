#include "top/top_text.h"

#include <string.h>
#include <wchar.h>
#include <wctype.h>

/* Embeddings, overrides, isolates and marks: what follows them is shown in another order. */
static bool turns_direction(wchar_t c)
{
	return c == 0x061c || c == 0x200e || c == 0x200f || (c >= 0x202a && c <= 0x202e) ||
	       (c >= 0x2066 && c <= 0x2069);
}

static bool is_harmless(wchar_t c, bool in_field)
{
	return iswprint((wint_t)c) && !turns_direction(c) && !(in_field && iswspace((wint_t)c));
}

static void put(struct strbuf *out, const char *text, bool in_field)
{
	size_t left = strlen(text);
	mbstate_t state = {0};

	while (left > 0) {
		wchar_t c;
		size_t n = mbrtowc(&c, text, left, &state);
		bool is_character = n != (size_t)-1 && n != (size_t)-2;

		if (is_character && is_harmless(c, in_field)) {
			strbuf_add(out, text, n);
		} else {
			n = is_character ? n : 1;
			for (size_t i = 0; i < n; i++)
				strbuf_addf(out, "\\x%02x", (unsigned char)text[i]);
			state = (mbstate_t){0};
		}
		text += n;
		left -= n;
	}
}

void top_text_put(struct strbuf *out, const char *text)
{
	put(out, text, false);
}

void top_text_put_field(struct strbuf *out, const char *text)
{
	put(out, text[0] != '\0' ? text : "-", true);
}

/* Bytes and columns of the first character. */
static size_t first_character(const char *text, int *columns)
{
	mbstate_t state = {0};
	wchar_t c;
	size_t n = mbrtowc(&c, text, strlen(text), &state);
	int width;

	*columns = 1;
	if (n == 0 || n == (size_t)-1 || n == (size_t)-2)
		return 1;
	width = wcwidth(c);
	if (width >= 0)
		*columns = width;
	return n;
}

size_t top_text_fit(const char *text, int columns)
{
	const char *p = text;
	int width;

	while (*p != '\0') {
		size_t n = first_character(p, &width);

		if (width > columns)
			break;
		columns -= width;
		p += n;
	}
	return (size_t)(p - text);
}

int top_text_width(const char *text)
{
	int width, sum = 0;

	while (*text != '\0') {
		text += first_character(text, &width);
		sum += width;
	}
	return sum;
}

/* Three digits that count, and the letter of the power. */
static void put_scaled(struct strbuf *out, double value, double base, const char *letters)
{
	double limit = base - 0.5;

	for (value /= base; value >= limit && letters[1] != '\0'; letters++)
		value /= base;
	strbuf_addf(out, "%.*f%c", value < 9.995 ? 2 : value < 99.95 ? 1 : 0, value, *letters);
}

void top_text_put_count(struct strbuf *out, double value)
{
	if (value < 99999.5)
		strbuf_addf(out, "%.0f", value);
	else
		put_scaled(out, value, 1000, "kMGTP");
}

void top_text_put_rate(struct strbuf *out, double value)
{
	if (value > 0 && value < 9.95)
		strbuf_addf(out, "%.1f", value);
	else
		top_text_put_count(out, value);
}

void top_text_put_bytes(struct strbuf *out, double value)
{
	if (value < 1023.5)
		strbuf_addf(out, "%.0f", value);
	else
		put_scaled(out, value, 1024, "KMGTP");
}

static void put_seconds(struct strbuf *out, unsigned long long seconds)
{
	if (seconds < 3600)
		strbuf_addf(out, "%llum%02llus", seconds / 60, seconds % 60);
	else if (seconds < 86400)
		strbuf_addf(out, "%lluh%02llum", seconds / 3600, seconds / 60 % 60);
	else
		strbuf_addf(out, "%llud%02lluh", seconds / 86400, seconds / 3600 % 24);
}

void top_text_put_time(struct strbuf *out, double us)
{
	if (us < 999.5)
		strbuf_addf(out, us > 0 ? "%.0fus" : "%.0f", us);
	else if (us < 999500)
		strbuf_addf(out, "%.*fms", us < 99950 ? 1 : 0, us / 1e3);
	else if (us < 59.95e6)
		strbuf_addf(out, "%.1fs", us / 1e6);
	else
		put_seconds(out, (unsigned long long)(us < 1e18 ? us / 1e6 + 0.5 : 1e12));
}
