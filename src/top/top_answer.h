/*
 * What SHOW has answered, by the names of its columns: layouts differ from one version to the next.
 */
#pragma once
#include <stdbool.h>

#include <libpq-fe.h>

/* A number, or NAN: no such answer (NULL), column or row, NULL, or no number. */
double top_answer_number(const PGresult *answer, int row, const char *column);

/* A text of the answer's, or "". */
const char *top_answer_text(const PGresult *answer, int row, const char *column);

bool top_answer_has(const PGresult *answer, const char *column);

/* Seconds in one column and what is left in another, as microseconds. Layouts of old have no second column. */
double top_answer_wait(const PGresult *answer, int row, const char *seconds, const char *us);

/* The rows by the text in a column, each once. */
struct top_index {
	const PGresult *answer;
	int column;
	int *rows;
	int n;
};

/* An answer that is NULL, or lacks the column, gives an empty one. Out of memory too: nothing is found then. */
void top_index_init(struct top_index *index, const PGresult *answer, const char *column);
void top_index_fini(struct top_index *index);

/* The row, or -1. */
int top_index_find(const struct top_index *index, const char *text);
