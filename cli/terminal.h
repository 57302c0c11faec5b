/* terminal.h: progress on stderr: one redrawn line with rate and ETA on a terminal, a plain
 * line about every ten seconds elsewhere. */
#ifndef CLI_TERMINAL_H
#define CLI_TERMINAL_H

void terminal_install(void); /* becomes the progress sink */
void terminal_clear(void);   /* wipes the progress line, before other output */

#endif
