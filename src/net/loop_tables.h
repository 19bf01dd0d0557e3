/*
 * Memory for libev's tables: by descriptor, of timers, of events. They grow to
 * their double, and libev ends the program when one cannot. So there is a
 * reserve, as large as the next growth of the largest will be; what it has been
 * used for, it is made anew before the loop sleeps, and until there is memory
 * for that again a second growth would end the program.
 */
#pragma once

/* libev's allocator; before the first loop is made. */
void loop_tables_use(void);

/* Once a turn. */
void loop_tables_renew(void);

/* After the last loop has gone. */
void loop_tables_free(void);
