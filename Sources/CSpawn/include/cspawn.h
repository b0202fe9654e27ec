/*
 * What Swift on Linux cannot import or must not do itself: starting a program with exactly the state we want, and the
 * system calls behind variadic functions and macros.
 *
 * `cspawn_process` clones with shared memory (as vfork does, on a stack of its own, every signal blocked), so its cost does
 * not grow with the caller; what fails in the child comes back as an errno and the step that failed. A child whose caller dies
 * before exec never gets there.
 *
 * When adding a step to the child: only raw system calls there (glibc's setuid and friends would signal the caller's
 * threads), give it a CSPAWN_STEP_*, and mind the order: what needs privileges before the ids, the mask last before exec.
 */
#ifndef CSPAWN_H
#define CSPAWN_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct cspawn_limit {
    int resource; /* RLIMIT_* */
    uint64_t soft;
    uint64_t hard;
};

enum {
    CSPAWN_STEP_NONE = 0,
    CSPAWN_STEP_CLONE = 1,
    CSPAWN_STEP_DESCRIPTORS = 2,
    CSPAWN_STEP_SESSION = 3,
    CSPAWN_STEP_LIMITS = 4,
    CSPAWN_STEP_IDS = 5,
    CSPAWN_STEP_DIRECTORY = 6,
    CSPAWN_STEP_SIGNALS = 7,
    CSPAWN_STEP_EXEC = 8
};

struct cspawn_request {
    const char *path;        /* explicit: PATH is never searched */
    char *const *argv;       /* NULL-terminated */
    char *const *envp;       /* NULL-terminated */
    const char *directory;   /* NULL: the caller's */
    int stdin_fd;            /* -1: /dev/null; so for the next two */
    int stdout_fd;
    int stderr_fd;
    int extra_fd;            /* becomes descriptor 3; -1: none. Everything from there on is closed */
    int new_session;         /* 1: setsid, hence also a process group of its own */
    int signals_are_default; /* 1: the caller has no handler and ignores nothing (cspawn_default_signals), so none is reset */
    int file_mask;           /* umask; -1: the caller's */
    int set_ids;             /* 1: groups, gid and uid below */
    uint32_t uid;
    uint32_t gid;
    const uint32_t *groups;
    size_t group_count;
    const struct cspawn_limit *limits;
    size_t limit_count;
};

struct cspawn_failure {
    int error; /* errno */
    int step;  /* CSPAWN_STEP_* */
};

/* The new process's id once exec has succeeded, or -1 with *failure filled (the child is reaped then). Signal dispositions
 * of the new program are all default and its mask is empty. Blocks until exec, as vfork does. Any thread may call it. */
pid_t cspawn_process(const struct cspawn_request *request, struct cspawn_failure *failure);

/* A child that has ended and was not waited for, which it still is not; 0: none. */
pid_t cspawn_ended_child(void);

/* These return -1 and set errno, as system calls do. */
int cspawn_pidfd_open(pid_t pid);                       /* close-on-exec */
int cspawn_pidfd_send_signal(int pidfd, int signal);
int cspawn_become_subreaper(void);
int cspawn_memfd(const char *name);                     /* close-on-exec */
int cspawn_block_all_signals(void);                     /* of the calling thread */
int cspawn_default_signals(void);                       /* dispositions of the calling process */
int cspawn_signalfd(const int *signals, size_t count);  /* non-blocking, close-on-exec */
uint64_t cspawn_take_signals(int signalfd);             /* those waiting, signal n as bit n - 1 */
int cspawn_reserve(int fd, int64_t offset, int64_t length); /* fallocate that keeps the size */
int cspawn_pipe(int *ends);                             /* read, write; close-on-exec */

/* poll with nanoseconds; a negative timeout waits for ever. */
struct pollfd;
int cspawn_poll(struct pollfd *fds, size_t count, int64_t timeout_ns);

#endif
