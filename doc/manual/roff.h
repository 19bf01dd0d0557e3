/*
 * Text in a manual page: what roff would take for something else is escaped.
 */
#pragma once
#include <stdio.h>

/* Sentences, each in a line of its own. */
void roff_prose(const char *text, FILE *out);

/* A word that is to be typed as it stands: its hyphens are minus signs. */
void roff_word(const char *text, FILE *out);

/* The head of a paragraph with such words in bold, an argument behind them in italics ("": none), and its text. */
void roff_item(const char *word, const char *argument, const char *prose, FILE *out);
