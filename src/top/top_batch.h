/*
 * Pictures as plain text: lines of fields with blanks between them, for scripts.
 *
 * A picture is a line with the time and what is true of the whole pooler as
 * name=value, a line of titles, a line for each row, and an empty line.
 */
#pragma once
#include <stdio.h>

#include "top/top_model.h"
#include "top/top_ui.h"

void top_batch_print(const struct top_model *m, const struct top_ui *ui, FILE *out);
