/* By itself: <term.h> makes macros of many common words. */
#include "top/top_terminal.h"

#include <unistd.h>

#include <curses.h>
#include <term.h>

bool top_terminal_has_cursor(void)
{
	bool has_cursor;
	int status;

	if (setupterm(NULL, STDOUT_FILENO, &status) != OK)
		return false;
	has_cursor = cursor_address != NULL;
	del_curterm(cur_term);
	return has_cursor;
}
