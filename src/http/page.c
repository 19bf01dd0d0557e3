#include "http/page.h"

#include <openssl/evp.h>
#include <openssl/sha.h>

/* Found by the assembler where the compiler finds "src". */
__asm__(".section .rodata\n"
	".global pgsluice_page_begin, pgsluice_page_end\n"
	"pgsluice_page_begin:\n"
	".incbin \"src/http/page.html\"\n"
	"pgsluice_page_end:\n"
	".byte 0\n"
	".previous\n");
extern const char pgsluice_page_begin[], pgsluice_page_end[];

struct slice page_text(void)
{
	/* cppcheck-suppress comparePointers */
	return (struct slice){pgsluice_page_begin, (size_t)(pgsluice_page_end - pgsluice_page_begin)};
}

static void add_hash(struct strbuf *out, struct slice text)
{
	unsigned char sum[SHA256_DIGEST_LENGTH], base64[4 * ((SHA256_DIGEST_LENGTH + 2) / 3) + 1];

	SHA256((const unsigned char *)text.p, text.n, sum);
	EVP_EncodeBlock(base64, sum, sizeof(sum));
	strbuf_addf(out, " 'sha256-%s'", (const char *)base64);
}

/* The hash of what is within each element of this kind. */
static void add_hashes(struct strbuf *out, const char *begin, const char *end)
{
	const char *p = page_text().p, *stop;

	while ((p = strstr(p, begin)) != NULL && (stop = strstr(p, end)) != NULL) {
		p += strlen(begin);
		add_hash(out, (struct slice){p, (size_t)(stop - p)});
	}
}

void page_policy(struct strbuf *out)
{
	strbuf_add_str(out, "default-src 'none'; script-src");
	add_hashes(out, "<script>", "</script>");
	strbuf_add_str(out, "; style-src");
	add_hashes(out, "<style>", "</style>");
	strbuf_add_str(out, "; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
			    "frame-ancestors 'none'");
}
