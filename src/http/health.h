/*
 * How the whole is doing, in one JSON object: whether it is ready, for how
 * long it has run, and how many there are of what matters.
 */
#pragma once
#include "report/table.h"

/* Appends it; times in microseconds. */
void health_print(const struct report *report, struct strbuf *out);
