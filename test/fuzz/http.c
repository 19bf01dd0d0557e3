/*
 * What comes over HTTP. An input is a byte, how many bytes come at a time; the
 * rest is what one connection says. Another one is answered all the while.
 */
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/sys.h"
#include "fuzz.h"
#include "world/stage.h"

#define PORT 9127

/* Of this process alone: several of them may run at a time. */
static const char *address(void)
{
	static char text[32];
	unsigned pid = (unsigned)getpid();

	snprintf(text, sizeof(text), "127.%u.%u.%u", 1 + (pid >> 14) % 250, 1 + (pid >> 7) % 128, 1 + pid % 128);
	return text;
}

static struct conf *conf_of(void)
{
	static struct conf *conf;
	char ini[512];

	if (conf == NULL) {
		snprintf(ini, sizeof(ini),
			 "[databases]\nshop = host=@@ port=5432\n"
			 "[pgbouncer]\n"
			 "unix_socket_dir = @@\nauth_type = trust\nadmin_users = boss\nstats_users = watcher\n"
			 "capacity_check_interval = 0\nhttp_listen_addr = %s\nhttp_port = %d\n", address(), PORT);
		conf = world_conf(ini, "\"boss\" \"secret\"\n\"watcher\" \"w\"\n\"ann\" \"\"\n", NULL);
	}
	return conf;
}

/*
 * The handshake may have to wait where the machine is busy, and libFuzzer's alarm, which looks for inputs that take too
 * long, interrupts what waits. The handshake goes on, and the next call waits for it.
 */
static bool connect_fully(int fd, const struct sockaddr_in *to)
{
	int rc;

	do {
		rc = connect(fd, (const struct sockaddr *)to, sizeof(*to));
	} while (rc != 0 && errno == EINTR);
	return rc == 0;
}

static int connect_http(void)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(PORT)};
	/* Closed at once and for good: no port is left waiting. */
	const struct linger none = {.l_onoff = 1};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	must(inet_pton(AF_INET, address(), &to.sin_addr) == 1);
	must(fd >= 0);
	must(connect_fully(fd, &to));
	must(setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none)) == 0 && sys_set_nonblocking(fd));
	return fd;
}

static void must_be_alive(struct stage *stage)
{
	static const char request[] = "GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
	int fd = connect_http();
	struct strbuf heard;

	strbuf_init(&heard);
	world_send(fd, request, sizeof(request) - 1);
	for (int i = 0; i < 20 && heard.n == 0; i++) {
		stage_settle(stage);
		world_receive(fd, &heard);
	}
	must(heard.n > 12 && memcmp(heard.p, "HTTP/1.1 200", 12) == 0);
	strbuf_fini(&heard);
	close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct strbuf heard;
	struct stage stage;
	size_t piece;
	int fd;

	if (size < 2)
		return 0;
	piece = data[0] == 0 ? size : data[0];
	stage_open(&stage, conf_of(), data[0]);
	fd = connect_http();
	strbuf_init(&heard);
	for (size_t at = 1; at < size; at += piece) {
		world_send(fd, data + at, size - at < piece ? size - at : piece);
		stage_settle(&stage);
		world_receive(fd, &heard);
	}
	stage_pass(&stage, WORLD_SECOND);
	world_receive(fd, &heard);
	must_be_alive(&stage);
	strbuf_fini(&heard);
	close(fd);
	stage_settle(&stage);
	must_be_alive(&stage);
	stage_close(&stage);
	return 0;
}
