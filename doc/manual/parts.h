/*
 * The parts of the pages that come from tables of the program: each writes
 * what stands in place of a line "@name" of a template.
 */
#pragma once
#include <stdio.h>

/* program_parts.c, of pgsluice.1 */
void part_options(FILE *out);
void part_top(FILE *out);
void part_commands(FILE *out);
void part_tables(FILE *out);

/* setting_parts.c, of pgsluice.5, pgsluice.ini and settings.md */
void part_settings(FILE *out);
void part_database_keys(FILE *out);
void part_user_keys(FILE *out);
void part_peer_keys(FILE *out);
void part_ini_settings(FILE *out);
void part_settings_tables(FILE *out);

/* difference_parts.c, of from-pgbouncer.md */
void part_differences_where_set(FILE *out);
void part_differences_where_not_set(FILE *out);
void part_without_effect(FILE *out);

/* error_parts.c, of troubleshooting.md */
void part_errors(FILE *out);
