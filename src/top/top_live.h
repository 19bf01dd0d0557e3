/*
 * The live view: keys, readings and time, until the user has seen enough.
 */
#pragma once
#include "top/top_model.h"
#include "top/top_source.h"
#include "top/top_ui.h"

/* The model has its first reading and the screen is open. Returns when the user quits or the terminal is gone. */
void top_live_run(struct top_source *source, struct top_model *model, struct top_ui *ui);
