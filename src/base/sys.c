#include "base/sys.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

/* So many come whole, once the kernel's generator is seeded. */
#define RANDOM_SIZE 256

/* What has been asked for and not been given out; what was given out is wiped. */
static struct {
	bool is_ready;
	size_t n;                /* at the beginning of: */
	uint8_t bytes[RANDOM_SIZE];
} store;

static void forget_store(void)
{
	sys_wipe(store.bytes, sizeof(store.bytes));
	store.n = 0;
}

static void fill_store(void)
{
	if (!store.is_ready && pthread_atfork(NULL, NULL, forget_store) != 0)
		abort();
	store.is_ready = true;
	if (getrandom(store.bytes, sizeof(store.bytes), 0) != (ssize_t)sizeof(store.bytes))
		abort();
	store.n = sizeof(store.bytes);
}

void sys_random(void *p, size_t n)
{
	uint8_t *to = p;

	while (n > 0) {
		size_t part;

		if (store.n == 0)
			fill_store();
		part = n < store.n ? n : store.n;
		store.n -= part;
		memcpy(to, store.bytes + store.n, part);
		sys_wipe(store.bytes + store.n, part);
		to += part;
		n -= part;
	}
}

void sys_wipe(void *p, size_t n)
{
	explicit_bzero(p, n);
}

void *sys_zeroed(size_t n)
{
	void *p = malloc(n);

	return p != NULL ? memset(p, 0, n) : NULL;
}

void sys_wipe_text(char **text)
{
	if (*text != NULL)
		sys_wipe(*text, strlen(*text));
	free(*text);
	*text = NULL;
}

/* The limit alone is not enough: the kernel does not ask it when dumps are piped into a program. */
void sys_allow_core_dumps(bool allowed)
{
	struct rlimit limit;

	prctl(PR_SET_DUMPABLE, allowed ? 1 : 0);
	if (getrlimit(RLIMIT_CORE, &limit) != 0)
		return;
	limit.rlim_cur = allowed ? limit.rlim_max : 0;
	setrlimit(RLIMIT_CORE, &limit);
}

size_t sys_raise_nofile(size_t wanted)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return 0;
	if (limit.rlim_cur < wanted) {
		limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
		setrlimit(RLIMIT_NOFILE, &limit);
		getrlimit(RLIMIT_NOFILE, &limit);
	}
	return (size_t)limit.rlim_cur;
}

bool sys_set_nonblocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0;
}

struct sys_memory sys_memory(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	char text[128] = "", *rest;
	struct sys_memory m;

	if (fd >= 0) {
		(void)!read(fd, text, sizeof(text) - 1);
		close(fd);
	}
	/* In pages. Nothing that could be read is no memory. */
	m.size = strtoul(text, &rest, 10) * page;
	m.resident = strtoul(rest, NULL, 10) * page;
	return m;
}
