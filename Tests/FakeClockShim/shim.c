// Goes before libfaketime, which moves every absolute deadline of a timer descriptor by the faked difference, also of timers that run by a
// monotonic clock: those would never fire, or at once. Here they reach the kernel as they are.
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

int timerfd_settime(int descriptor, int flags, const struct itimerspec *next, struct itimerspec *before) {
  return (int)syscall(SYS_timerfd_settime, descriptor, flags, next, before);
}

int timerfd_gettime(int descriptor, struct itimerspec *present) {
  return (int)syscall(SYS_timerfd_gettime, descriptor, present);
}
