#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/digest.h"

static void assert_hex(const uint8_t *p, size_t n, const char *hex)
{
	struct strbuf text;

	strbuf_init(&text);
	for (size_t i = 0; i < n; i++)
		strbuf_addf(&text, "%02x", p[i]);
	assert_string_equal(text.p, hex);
	strbuf_fini(&text);
}

/* FIPS 180-2, appendix B. */
static void sha256_is_that_of_the_standard(void **state)
{
	uint8_t sum[DIGEST_SHA256_SIZE];

	(void)state;
	for (int i = 0; i < 2; i++) {
		assert_true(digest_sha256(SLICE_LIT("abc"), sum));
		assert_hex(sum, sizeof(sum), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
		assert_true(digest_sha256(SLICE_LIT("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"), sum));
		assert_hex(sum, sizeof(sum), "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
	}
	assert_true(digest_sha256((struct slice){NULL, 0}, sum));
	assert_hex(sum, sizeof(sum), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

/* RFC 1321, appendix A.5. */
static void md5_is_that_of_its_rfc_over_both_texts(void **state)
{
	uint8_t sum[DIGEST_MD5_SIZE];

	(void)state;
	assert_true(digest_md5(SLICE_LIT("message"), SLICE_LIT(" digest"), sum));
	assert_hex(sum, sizeof(sum), "f96b697d7cb7938d525a2f31aaf161d0");
	assert_true(digest_md5(SLICE_LIT(""), SLICE_LIT("abc"), sum));
	assert_hex(sum, sizeof(sum), "900150983cd24fb0d6963f7d28e17f72");
}

/* RFC 4231, test cases 1 to 3. */
static void hmac_is_that_of_its_rfc(void **state)
{
	uint8_t sum[DIGEST_SHA256_SIZE];
	char key[20], text[50];

	(void)state;
	memset(key, 0x0b, sizeof(key));
	assert_true(digest_hmac_sha256((struct slice){key, sizeof(key)}, SLICE_LIT("Hi There"), sum));
	assert_hex(sum, sizeof(sum), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
	assert_true(digest_hmac_sha256(SLICE_LIT("Jefe"), SLICE_LIT("what do ya want for nothing?"), sum));
	assert_hex(sum, sizeof(sum), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
	memset(key, 0xaa, sizeof(key));
	memset(text, 0xdd, sizeof(text));
	assert_true(digest_hmac_sha256((struct slice){key, sizeof(key)}, (struct slice){text, sizeof(text)}, sum));
	assert_hex(sum, sizeof(sum), "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe");
}

static void a_key_as_long_as_a_block_is_the_longest(void **state)
{
	uint8_t sum[DIGEST_SHA256_SIZE];
	char key[DIGEST_HMAC_KEY_MAX + 1];

	(void)state;
	memset(key, 'k', sizeof(key));
	assert_true(digest_hmac_sha256((struct slice){key, DIGEST_HMAC_KEY_MAX}, SLICE_LIT("text"), sum));
	assert_false(digest_hmac_sha256((struct slice){key, DIGEST_HMAC_KEY_MAX + 1}, SLICE_LIT("text"), sum));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sha256_is_that_of_the_standard),
		cmocka_unit_test(md5_is_that_of_its_rfc_over_both_texts),
		cmocka_unit_test(hmac_is_that_of_its_rfc),
		cmocka_unit_test(a_key_as_long_as_a_block_is_the_longest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
