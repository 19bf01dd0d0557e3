#include "conf/overrides.h"

/* The one setting whose 0, in an entry of a database, means to inherit. */
static bool inherits(enum setting_id id, const struct setting_value *value)
{
	return id == SETTING_server_lifetime && value->number == 0;
}

bool overrides_read(struct conf_overrides *o, enum setting_id id, struct slice text, struct arena *arena,
		    struct strbuf *error)
{
	struct setting_value value;

	if (setting_is_negative(id, text)) {
		o->is_set[id] = false;
		return true;
	}
	if (!setting_parse(id, text, &value, error))
		return false;
	o->is_set[id] = !inherits(id, &value);
	o->number[id] = value.number;
	if (setting_info(id)->type == SETTING_TYPE_string)
		o->string[id] = arena_copy(arena, value.text);
	return true;
}

struct setting_value overrides_value(const struct conf_overrides *o, enum setting_id id)
{
	if (setting_info(id)->type == SETTING_TYPE_string)
		return (struct setting_value){0, slice_of(o->string[id])};
	return (struct setting_value){o->number[id], {NULL, 0}};
}

bool overrides_equal(const struct conf_overrides *a, const struct conf_overrides *b, enum setting_id id)
{
	struct setting_value one, other;

	if (!a->is_set[id] || !b->is_set[id])
		return a->is_set[id] == b->is_set[id];
	one = overrides_value(a, id);
	other = overrides_value(b, id);
	return one.number == other.number && slice_eq(one.text, other.text);
}

const char *overrides_key(enum setting_id id)
{
	const struct setting_info *info = setting_info(id);

	return info->entity_key != NULL ? info->entity_key : info->name;
}
