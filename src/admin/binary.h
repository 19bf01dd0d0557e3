/*
 * Cells in PostgreSQL's binary format: big-endian integers, numeric as digits
 * to the base of 10,000 (src/backend/utils/adt/numeric.c, numeric_send()),
 * text as itself.
 */
#pragma once
#include "report/table.h"

/* A cell of a column of this type: its own text, or what is written into the caller's room. Not for nulls. */
struct slice cell_binary(enum column_type type, const struct cell *cell, char room[CELL_ROOM]);
