/* A name server's answer to the question for a SOA record. */
#include "fuzz.h"
#include "net/dns_soa.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const asked[] = {"example.com", "db.example.com", "a", ""};

	for (size_t i = 0; i < sizeof(asked) / sizeof(asked[0]); i++) {
		struct dns_soa soa;
		size_t n, m;

		if (!dns_soa_parse(data, size, asked[i], &soa))
			continue;
		/* The name is in the zone, whatever the answer says. */
		n = strnlen(soa.zone, sizeof(soa.zone));
		m = strlen(asked[i]);
		must(n > 0 && n <= m && strcmp(asked[i] + m - n, soa.zone) == 0);
	}
	return 0;
}
