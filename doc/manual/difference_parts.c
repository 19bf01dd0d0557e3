/*
 * What settings do otherwise than in PgBouncer, as tables of Markdown.
 */
#include "parts.h"

#include "conf/differences.h"

void part_differences_where_set(FILE *out)
{
	const struct difference *d;

	fputs("| setting | what is different |\n|---|---|\n", out);
	for (size_t i = 0; (d = difference_at(i)) != NULL; i++)
		if (d->as_there == NULL)
			fprintf(out, "| `%s` | %s |\n", setting_info(d->id)->name, d->text);
}

void part_differences_where_not_set(FILE *out)
{
	const struct difference *d;

	fputs("| setting | default | what is different | as in PgBouncer |\n|---|---|---|---|\n", out);
	for (size_t i = 0; (d = difference_at(i)) != NULL; i++)
		if (d->as_there != NULL)
			fprintf(out, "| `%s` | `%s` | %s | `%s` |\n", setting_info(d->id)->name,
				setting_info(d->id)->default_text, d->text, d->as_there);
}

void part_without_effect(FILE *out)
{
	fputs("| setting | |\n|---|---|\n", out);
	for (size_t i = 0; i < SETTING_COUNT; i++) {
		const struct setting_info *info = setting_info(setting_by_rank(i));

		if (info->effect == EFFECT_NONE)
			fprintf(out, "| `%s` | %s |\n", info->name, info->doc);
	}
}
