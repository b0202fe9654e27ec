// hiredis 0.14 (Debian libhiredis-dev), linked statically (see module.modulemap).
// Only its protocol reader is imported. Its own connecting and writing are left out on purpose: they resolve names
// blockingly, open sockets without CLOEXEC (every command would inherit them) and raise SIGPIPE.
// Beside it, the few calls that a connection's thread needs and Swift's Glibc module lacks.
#ifndef MUSTER_CHIREDIS_H
#define MUSTER_CHIREDIS_H
#include <hiredis/read.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>

// An eventfd that is neither inherited nor blocking; -1 and errno on failure.
static inline int chiredis_eventfd(void) { return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }

// Names the calling thread, for ps and debuggers (15 bytes are kept).
static inline void chiredis_name_thread(const char *name) { prctl(PR_SET_NAME, name, 0, 0, 0); }
#endif
