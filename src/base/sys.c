#include "base/sys.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>

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
