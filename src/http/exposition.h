/*
 * All metrics in the text format of Prometheus, version 0.0.4.
 */
#pragma once
#include "http/pieces.h"
#include "report/table.h"

#define EXPOSITION_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* NULL when out of memory. */
struct pieces *exposition_new(const struct report *report);
