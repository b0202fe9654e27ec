/* See cspawn.h for what this is and its rules. */
#define _GNU_SOURCE
#include "cspawn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif

/* The kernel's signal set is 64 bits on every architecture we build for; glibc's calls hide signals 32 and 33. */
#define KERNEL_SIGSET_BYTES 8

struct child_context {
    const struct cspawn_request *request;
    pid_t caller;
    volatile int error;
    volatile int step;
};

static int fail(struct child_context *context, int step) {
    context->error = errno;
    context->step = step;
    _exit(127);
}

/* A source that dup2 onto 0…3 would overwrite before its turn moves out of the way first. */
static int move_up(int fd) {
    return (fd >= 0 && fd <= 3) ? fcntl(fd, F_DUPFD, 10) : fd;
}

static int place(int fd, int target, int null_flags) {
    if (fd < 0) {
        fd = open("/dev/null", null_flags);
        if (fd < 0) return -1;
    }
    if (fd == target) return fcntl(fd, F_SETFD, 0);
    return dup2(fd, target) < 0 ? -1 : 0;
}

static int close_from(unsigned first) {
    if (syscall(SYS_close_range, first, ~0U, 0) == 0) return 0;
    if (errno != ENOSYS && errno != EPERM) return -1;
    struct rlimit limit;
    rlim_t end = 65536;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < 1048576) end = limit.rlim_cur;
    for (rlim_t fd = first; fd < end; fd++) close((int)fd);
    return 0;
}

static int set_up_descriptors(const struct cspawn_request *request) {
    int in = move_up(request->stdin_fd), out = move_up(request->stdout_fd);
    int err = move_up(request->stderr_fd), extra = move_up(request->extra_fd);
    if ((request->stdin_fd >= 0 && in < 0) || (request->stdout_fd >= 0 && out < 0)
        || (request->stderr_fd >= 0 && err < 0) || (request->extra_fd >= 0 && extra < 0)) return -1;
    if (place(in, 0, O_RDONLY) < 0 || place(out, 1, O_WRONLY) < 0 || place(err, 2, O_WRONLY) < 0) return -1;
    if (extra >= 0 && place(extra, 3, O_RDWR) < 0) return -1;
    return close_from(extra >= 0 ? 4 : 3);
}

static int set_limits(const struct cspawn_request *request) {
    for (size_t i = 0; i < request->limit_count; i++) {
        struct rlimit limit = { .rlim_cur = request->limits[i].soft, .rlim_max = request->limits[i].hard };
        if (syscall(SYS_prlimit64, 0, request->limits[i].resource, &limit, NULL) < 0) return -1;
    }
    return 0;
}

static int set_ids(const struct cspawn_request *request) {
    if (!request->set_ids) return 0;
    if (syscall(SYS_setgroups, request->group_count, request->groups) < 0) return -1;
    if (syscall(SYS_setresgid, request->gid, request->gid, request->gid) < 0) return -1;
    return syscall(SYS_setresuid, request->uid, request->uid, request->uid) < 0 ? -1 : 0;
}

/* Handlers point into memory that is shared until exec, so they have to go before the mask opens; ignored signals would
 * survive exec. Only what is not default already is written. */
int cspawn_default_signals(void) {
    unsigned long action[8], none[8];
    memset(none, 0, sizeof none);
    for (int signal = 1; signal <= 64; signal++) {
        if (signal == SIGKILL || signal == SIGSTOP) continue;
        if (syscall(SYS_rt_sigaction, signal, NULL, action, KERNEL_SIGSET_BYTES) < 0) return -1;
        if (action[0] == 0) continue;
        if (syscall(SYS_rt_sigaction, signal, none, NULL, KERNEL_SIGSET_BYTES) < 0) return -1;
    }
    return 0;
}

static int open_mask(void) {
    uint64_t empty = 0;
    return (int)syscall(SYS_rt_sigprocmask, SIG_SETMASK, &empty, NULL, KERNEL_SIGSET_BYTES);
}

/* Until exec the caller may be killed while this child hangs (in a dead mount, say): nobody would ever know of the program that it then
 * executes. A change of ids takes the setting away, so it is made again behind it. */
static void die_with(pid_t caller) {
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (getppid() != caller) _exit(127);
}

/* From here on the program goes on whatever becomes of the caller; the setting would survive exec. */
static void outlive(pid_t caller) {
    prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
    if (getppid() != caller) _exit(127);
}

static int child_main(void *argument) {
    struct child_context *context = argument;
    const struct cspawn_request *request = context->request;
    die_with(context->caller);
    if (set_up_descriptors(request) < 0) fail(context, CSPAWN_STEP_DESCRIPTORS);
    if (request->new_session && setsid() < 0) fail(context, CSPAWN_STEP_SESSION);
    if (set_limits(request) < 0) fail(context, CSPAWN_STEP_LIMITS);
    if (set_ids(request) < 0) fail(context, CSPAWN_STEP_IDS);
    if (request->set_ids) die_with(context->caller);
    if (request->file_mask >= 0) umask((mode_t)request->file_mask);
    if (request->directory && chdir(request->directory) < 0) fail(context, CSPAWN_STEP_DIRECTORY);
    if ((!request->signals_are_default && cspawn_default_signals() < 0) || open_mask() < 0) {
        fail(context, CSPAWN_STEP_SIGNALS);
    }
    outlive(context->caller);
    execve(request->path, request->argv, request->envp);
    return fail(context, CSPAWN_STEP_EXEC);
}

pid_t cspawn_process(const struct cspawn_request *request, struct cspawn_failure *failure) {
    char stack[32768] __attribute__((aligned(64))); /* the caller waits in here until exec, so its frame stays valid */
    struct child_context context = { .request = request, .caller = getpid(), .error = 0, .step = CSPAWN_STEP_NONE };
    uint64_t all = ~(uint64_t)0, before;
    int saved_errno = errno;

    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, KERNEL_SIGSET_BYTES);
    pid_t pid = clone(child_main, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, &context);
    int clone_error = errno;
    if (pid > 0 && context.step != CSPAWN_STEP_NONE) {
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
        }
    }
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, KERNEL_SIGSET_BYTES);
    errno = saved_errno;

    if (pid < 0) {
        failure->error = clone_error;
        failure->step = CSPAWN_STEP_CLONE;
        return -1;
    }
    failure->error = context.error;
    failure->step = context.step;
    return context.step == CSPAWN_STEP_NONE ? pid : -1;
}

int cspawn_pidfd_open(pid_t pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }

int cspawn_pidfd_send_signal(int pidfd, int signal) {
    return (int)syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0);
}

pid_t cspawn_ended_child(void) {
    siginfo_t child = { .si_pid = 0 };
    return waitid(P_ALL, 0, &child, WEXITED | WNOHANG | WNOWAIT) == 0 ? child.si_pid : 0;
}

int cspawn_become_subreaper(void) { return prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); }

int cspawn_memfd(const char *name) { return memfd_create(name, MFD_CLOEXEC); }

int cspawn_block_all_signals(void) {
    sigset_t all;
    sigfillset(&all);
    return sigprocmask(SIG_SETMASK, &all, NULL);
}

int cspawn_signalfd(const int *signals, size_t count) {
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < count; i++) sigaddset(&set, signals[i]);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

uint64_t cspawn_take_signals(int fd) {
    struct signalfd_siginfo waiting[8];
    ssize_t length = read(fd, waiting, sizeof waiting);
    uint64_t set = 0;
    for (ssize_t i = 0; i * (ssize_t)sizeof waiting[0] < length; i++) set |= (uint64_t)1 << (waiting[i].ssi_signo - 1);
    return set;
}

int cspawn_reserve(int fd, int64_t offset, int64_t length) {
    return fallocate(fd, FALLOC_FL_KEEP_SIZE, offset, length);
}

int cspawn_pipe(int *ends) { return pipe2(ends, O_CLOEXEC); }

int cspawn_poll(struct pollfd *fds, size_t count, int64_t timeout_ns) {
    struct timespec timeout = { .tv_sec = timeout_ns / 1000000000, .tv_nsec = timeout_ns % 1000000000 };
    return ppoll(fds, (nfds_t)count, timeout_ns < 0 ? NULL : &timeout, NULL);
}
