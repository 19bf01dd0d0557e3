/*
 * What an admin says on the console: whatever it is, the pooler does not fall
 * over it. An input is a byte, whose lowest bit says whether it is SQL, a
 * command in each line, or messages as they are; the rest is said. Meanwhile
 * somebody runs queries.
 */
#include <unistd.h>

#include "fuzz.h"
#include "proto/out.h"
#include "world/stage.h"

static struct conf *conf_of(void)
{
	static struct conf *conf;

	if (conf == NULL)
		conf = world_conf("[databases]\n"
				  "shop = host=@@ port=5432 pool_mode=transaction\n"
				  "* = host=@@ port=5432\n"
				  "[users]\nann = pool_mode=session\n"
				  "[peers]\n1 = host=@@ port=5431\n"
				  "[pgbouncer]\n"
				  "unix_socket_dir = @@\nauth_type = trust\nadmin_users = boss\nstats_users = watcher\n"
				  "capacity_check_interval = 0\n",
				  "\"ann\" \"\"\n\"bob\" \"\"\n\"boss\" \"\"\n\"watcher\" \"\"\n", NULL);
	return conf;
}

static void query(struct stage *s, int client, struct slice text)
{
	struct strbuf out, sql;

	strbuf_init(&out);
	strbuf_init(&sql);
	strbuf_add_str(&sql, "");
	strbuf_add_slice(&sql, text);
	out_query(&out, sql.p);
	world_send(client, out.p, out.n);
	strbuf_fini(&sql);
	strbuf_fini(&out);
	stage_settle(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice text = {(const char *)data + 1, size - 1}, line;
	int console, client, idle;
	struct strbuf heard;
	struct stage stage;

	if (size < 1)
		return 0;
	stage_open(&stage, conf_of(), data[0]);
	client = stage_login(&stage, "ann", "shop");
	idle = stage_login(&stage, "bob", "other");
	console = stage_login(&stage, (data[0] & 2) == 0 ? "boss" : "watcher", "pgbouncer");
	query(&stage, client, SLICE_LIT("begin"));
	if ((data[0] & 1) != 0) {
		world_send(console, text.p, text.n);
	} else {
		while (slice_split(&text, '\n', &line)) {
			query(&stage, console, line);
			query(&stage, idle, SLICE_LIT("one"));
		}
	}
	strbuf_init(&heard);
	world_receive(console, &heard);
	stage_pass(&stage, 2 * WORLD_SECOND);
	query(&stage, client, SLICE_LIT("commit"));
	world_receive(console, &heard);
	strbuf_fini(&heard);
	close(client);
	close(idle);
	close(console);
	stage_settle(&stage);
	stage_close(&stage);
	return 0;
}
