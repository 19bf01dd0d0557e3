#include "admin/binary.h"

#include "proto/out.h"

#define NUMERIC_BASE 10000
#define NUMERIC_NEGATIVE 0x4000

/* Digits of the largest number there is. */
#define DIGITS_MAX 5

/* Decimal digits of a ratio behind the point. */
#define RATIO_SCALE 4

static void out_numeric(struct strbuf *out, int64_t value)
{
	uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
	uint16_t digits[DIGITS_MAX];
	uint16_t n = 0;

	for (; rest > 0; rest /= NUMERIC_BASE)
		digits[n++] = (uint16_t)(rest % NUMERIC_BASE);
	out_u16(out, n);
	out_u16(out, (uint16_t)(n == 0 ? 0 : n - 1));         /* weight of the first digit */
	out_u16(out, value < 0 ? NUMERIC_NEGATIVE : 0);
	out_u16(out, 0);                                      /* digits behind the point */
	while (n > 0)
		out_u16(out, digits[--n]);
}

/* Ten thousandths: all that is behind the point is one digit. Never negative. */
static void out_ratio(struct strbuf *out, int64_t value)
{
	uint16_t digits[DIGITS_MAX + 1];
	uint16_t n = 0;

	for (; value > 0; value /= NUMERIC_BASE)
		digits[n++] = (uint16_t)(value % NUMERIC_BASE);
	out_u16(out, n);
	out_u16(out, (uint16_t)(n == 0 ? 0 : n - 2));
	out_u16(out, 0);
	out_u16(out, RATIO_SCALE);
	while (n > 0)
		out_u16(out, digits[--n]);
}

/* A number that has grown beyond its column's type stays at the end of the range. */
static uint32_t clamp_int4(int64_t value)
{
	return (uint32_t)(int32_t)(value > INT32_MAX ? INT32_MAX : value < INT32_MIN ? INT32_MIN : value);
}

struct slice cell_binary(enum column_type type, const struct cell *cell, char room[CELL_ROOM])
{
	struct strbuf out;

	strbuf_init_fixed(&out, room, CELL_ROOM);
	if (cell->kind == CELL_RATIO) {
		out_ratio(&out, cell->number);
		return strbuf_slice(&out);
	}
	if (cell->kind != CELL_NUMBER)
		return cell_print(cell, room);
	switch (type) {
	case COLUMN_INT4:
		out_u32(&out, clamp_int4(cell->number));
		break;
	case COLUMN_INT8:
		out_u32(&out, (uint32_t)((uint64_t)cell->number >> 32));
		out_u32(&out, (uint32_t)cell->number);
		break;
	case COLUMN_NUMERIC:
		out_numeric(&out, cell->number);
		break;
	case COLUMN_RATIO:
	case COLUMN_TEXT:
	case COLUMN_TIME:
	case COLUMN_BYTEA:
		return cell_print(cell, room);
	}
	return strbuf_slice(&out);
}
