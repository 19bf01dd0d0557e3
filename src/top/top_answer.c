#include "top/top_answer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

bool top_answer_has(const PGresult *answer, const char *column)
{
	return answer != NULL && PQfnumber(answer, column) >= 0;
}

const char *top_answer_text(const PGresult *answer, int row, const char *column)
{
	if (!top_answer_has(answer, column) || row < 0 || row >= PQntuples(answer))
		return "";
	return PQgetvalue(answer, row, PQfnumber(answer, column));
}

double top_answer_number(const PGresult *answer, int row, const char *column)
{
	const char *text = top_answer_text(answer, row, column);
	char *end;
	double value = strtod(text, &end);

	return end == text || *end != '\0' || !isfinite(value) ? NAN : value;
}

double top_answer_wait(const PGresult *answer, int row, const char *seconds, const char *us)
{
	double rest = top_answer_number(answer, row, us);

	return top_answer_number(answer, row, seconds) * 1e6 + (isnan(rest) ? 0 : rest);
}

static const char *text_at(const struct top_index *index, int row)
{
	return PQgetvalue(index->answer, row, index->column);
}

static int compare_rows(const void *a, const void *b, void *index)
{
	return strcmp(text_at(index, *(const int *)a), text_at(index, *(const int *)b));
}

void top_index_init(struct top_index *index, const PGresult *answer, const char *column)
{
	*index = (struct top_index){.answer = answer};
	if (!top_answer_has(answer, column))
		return;
	index->column = PQfnumber(answer, column);
	index->n = PQntuples(answer);
	index->rows = calloc((size_t)index->n + 1, sizeof(index->rows[0]));
	if (index->rows == NULL)
		index->n = 0;
	for (int i = 0; i < index->n; i++)
		index->rows[i] = i;
	if (index->n > 1)
		qsort_r(index->rows, (size_t)index->n, sizeof(index->rows[0]), compare_rows, index);
}

void top_index_fini(struct top_index *index)
{
	free(index->rows);
	*index = (struct top_index){.rows = NULL};
}

int top_index_find(const struct top_index *index, const char *text)
{
	int low = 0, high = index->n;

	while (low < high) {
		int middle = low + (high - low) / 2;
		int order = strcmp(text, text_at(index, index->rows[middle]));

		if (order == 0)
			return index->rows[middle];
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return -1;
}
