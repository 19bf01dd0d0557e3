#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log_line.h"

/* 2026-03-01 10:00:07.142567 UTC */
#define MOMENT INT64_C(1772359207142567)

static char room[16384];
static struct strbuf out;

static const char *text_of(const struct log_line *line, const char *message)
{
	strbuf_init_fixed(&out, room, sizeof(room));
	log_line_head(line, MOMENT, &out);
	log_line_body(line, message, &out);
	return room;
}

static const char *json_of(const struct log_line *line, const char *message)
{
	strbuf_init_fixed(&out, room, sizeof(room));
	log_line_json(line, MOMENT, message, &out);
	assert_false(out.failed);
	return room;
}

static void set_zone(const char *zone)
{
	setenv("TZ", zone, 1);
	tzset();
}

static struct log_subject subject_at(const char *ip, int port)
{
	struct log_subject subject = {
		.side = LOG_SIDE_SERVER, .object = (void *)0xf3, .id = 7, .database = "shop", .user = "ann"};
	struct addr_any any;

	assert_true(addr_any_from_ip(&any, ip, port));
	addr_from_sockaddr(&subject.peer, &any.u.sa);
	return subject;
}

static void assert_line(const char *got, const char *pattern)
{
	char expected[2048];

	snprintf(expected, sizeof(expected), pattern, (int)getpid());
	assert_string_equal(got, expected);
}

static void text_is_pgbouncers(void **state)
{
	const struct log_subject subject = subject_at("10.0.0.7", 5121);
	const struct log_line line = {.level = LOG_LEVEL_WARNING, .subject = &subject};

	(void)state;
	set_zone("UTC0");
	assert_line(text_of(&line, "closing because: x (age=3s)"),
		    "2026-03-01 10:00:07.142 UTC [%d] WARNING S-0xf3: shop/ann@10.0.0.7:5121 closing because: x (age=3s)");
}

static void fields_do_not_change_the_text(void **state)
{
	const struct log_field fields[] = {{.key = "reason", .text = "X"}, {0}};
	const struct log_line line = {.level = LOG_LEVEL_LOG, .fields = fields};

	(void)state;
	set_zone("UTC0");
	assert_line(text_of(&line, "y"), "2026-03-01 10:00:07.142 UTC [%d] LOG y");
}

static void json_of_the_process_has_four_keys(void **state)
{
	const struct log_line line = {.level = LOG_LEVEL_LOG};

	(void)state;
	set_zone("UTC0");
	assert_line(json_of(&line, "process up"),
		    "{\"time\":\"2026-03-01T10:00:07.142+00:00\",\"pid\":%d,\"level\":\"LOG\",\"message\":\"process up\"}");
}

static void json_of_a_connection_says_whose_it_is_and_what_its_fields_say(void **state)
{
	const struct log_subject subject = subject_at("::1", 5121);
	const struct log_field fields[] = {{.key = "reason", .text = "CLIENT_EOF"}, {.key = "age", .number = 3}, {0}};
	const struct log_line line = {.level = LOG_LEVEL_ERROR, .subject = &subject, .fields = fields};

	(void)state;
	set_zone("UTC0");
	assert_line(json_of(&line, "m"),
		    "{\"time\":\"2026-03-01T10:00:07.142+00:00\",\"pid\":%d,\"level\":\"ERROR\",\"side\":\"server\",\"id\":7,"
		    "\"database\":\"shop\",\"user\":\"ann\",\"addr\":\"::1\",\"port\":5121,\"reason\":\"CLIENT_EOF\",\"age\":3,"
		    "\"message\":\"m\"}");
}

static void the_zone_is_an_offset_as_iso_8601_has_it(void **state)
{
	const struct log_line line = {.level = LOG_LEVEL_LOG};

	(void)state;
	set_zone("XXX-5:30");
	assert_non_null(strstr(json_of(&line, ""), "\"2026-03-01T15:30:07.142+05:30\""));
	set_zone("XXX3");
	assert_non_null(strstr(json_of(&line, ""), "\"2026-03-01T07:00:07.142-03:00\""));
	set_zone("UTC0");
}

static void json_of_any_bytes_is_one_line_of_utf_8(void **state)
{
	struct log_subject subject = subject_at("10.0.0.7", 1);
	const struct log_line line = {.level = LOG_LEVEL_LOG, .subject = &subject};

	(void)state;
	subject.user = "a\"\\\n\xff\xc3";
	assert_non_null(strstr(json_of(&line, "\x1b[2J\xc3\xa4\xed\xa0\x80"),
			       "\"user\":\"a\\\"\\\\\\n\xef\xbf\xbd\xef\xbf\xbd\""));
	assert_non_null(strstr(room, "\"message\":\"\\u001b[2J\xc3\xa4\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"}"));
	assert_null(strchr(room, '\n'));
}

static void json_cuts_names_and_fields_that_are_too_long(void **state)
{
	char name[1000];
	const struct log_field fields[] = {{.key = "reason", .text = name}, {0}};
	const struct log_line line = {.level = LOG_LEVEL_LOG, .fields = fields};

	(void)state;
	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	json_of(&line, "m");
	assert_int_equal(strspn(strchr(room, 'x'), "x"), LOG_LINE_TEXT_MAX);
	assert_non_null(strstr(room, "x\",\"message\":\"m\"}"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_is_pgbouncers),
		cmocka_unit_test(fields_do_not_change_the_text),
		cmocka_unit_test(json_of_the_process_has_four_keys),
		cmocka_unit_test(json_of_a_connection_says_whose_it_is_and_what_its_fields_say),
		cmocka_unit_test(the_zone_is_an_offset_as_iso_8601_has_it),
		cmocka_unit_test(json_of_any_bytes_is_one_line_of_utf_8),
		cmocka_unit_test(json_cuts_names_and_fields_that_are_too_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
