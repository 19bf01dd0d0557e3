#include "base/sys.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

void sys_random(void *p, size_t n)
{
	/* Up to 256 bytes come whole, once the kernel's generator is seeded. */
	if (getrandom(p, n, 0) != (ssize_t)n)
		abort();
}

void sys_wipe(void *p, size_t n)
{
	explicit_bzero(p, n);
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
	size_t page = (size_t)sysconf(_SC_PAGESIZE), size, resident;
	struct sys_memory none = {0};
	char text[128];
	int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		close(fd);
	text[n < 0 ? 0 : n] = '\0';
	if (sscanf(text, "%zu %zu", &size, &resident) != 2)
		return none;
	return (struct sys_memory){.size = size * page, .resident = resident * page};
}
