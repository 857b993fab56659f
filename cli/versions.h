/* versions.h - prints the version of the program and of its libraries. */
#ifndef PGAFRUN_VERSIONS_H
#define PGAFRUN_VERSIONS_H

void versions_print(void);

#endif
