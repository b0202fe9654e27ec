// processor PID: nanoseconds that a process has spent on a core, with all threads that it has and had. Bash's way, /proc/PID/stat, counts in 10 ms.
#include "common.h"

int main(int count, char **words) {
  if (count != 2) fail("usage: processor PID");
  clockid_t clock;
  struct timespec t;
  if (clock_getcpuclockid(atoi(words[1]), &clock) || clock_gettime(clock, &t)) fail("no process %s", words[1]);
  printf("%lld\n", (long long)t.tv_sec * 1000000000LL + t.tv_nsec);
}
