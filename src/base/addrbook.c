#include "base/addrbook.h"

uint8_t addrbook_note(struct addrbook *book, const struct addr *a)
{
	if (a->family == 0)
		return 0;
	for (uint8_t i = 0; i < book->n; i++) {
		if (addr_eq(&book->known[i], a))
			return (uint8_t)(i + 1);
	}
	if (book->n == UINT8_MAX)
		return 0;
	book->known[book->n] = *a;
	return ++book->n;
}

const struct addr *addrbook_at(const struct addrbook *book, uint8_t number)
{
	return number == 0 ? NULL : &book->known[number - 1];
}
