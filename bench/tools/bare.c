// The limits beside the rows about commands: what posix_spawn and the disk alone reach.
//   bare commands PROCESSES SECONDS       `sh -c 'echo hi'`, both outputs read to their end, its exit waited for, over and over, in so many
//                                         processes at once: rate (per second, all together)
//   bare started STAMP FIFO SAMPLES       spawn until the first instruction of STAMP's main: p50, p99 (ms)
//   bare result SAMPLES                   `sh -c true` until its end is known: p50, p99 (ms)
//   bare sync FOLDER SAMPLES              append 200 bytes and fdatasync: p50, p99 (ms)
//   bare pipe PROGRAM BYTES               reads all that `PROGRAM print BYTES` prints: seconds
#include <poll.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "common.h"

static char *environment[] = {"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/", "LANG=C.UTF-8", NULL};

// Runs a command with captured output; returns the bytes that it printed.
static int64_t command(char **words) {
  int out[2], err[2];
  if (pipe2(out, O_CLOEXEC) < 0 || pipe2(err, O_CLOEXEC) < 0) fail("pipe: %s", strerror(errno));
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, out[1], 1);
  posix_spawn_file_actions_adddup2(&actions, err[1], 2);
  pid_t pid;
  int code = posix_spawn(&pid, words[0], &actions, NULL, words, environment);
  if (code) fail("%s: %s", words[0], strerror(code));
  posix_spawn_file_actions_destroy(&actions);
  close(out[1]);
  close(err[1]);
  static char buffer[65536];
  int64_t total = 0;
  struct pollfd polls[2] = {{out[0], POLLIN, 0}, {err[0], POLLIN, 0}};
  for (int open = 2; open;) {
    poll(polls, 2, -1);
    for (int i = 0; i < 2; i++) {
      if (!polls[i].revents) continue;
      ssize_t n = read(polls[i].fd, buffer, sizeof buffer);
      if (n > 0) {
        total += n;
      } else {
        close(polls[i].fd);
        polls[i].fd = -1;
        open--;
      }
    }
  }
  int status;
  waitpid(pid, &status, 0);
  if (status) fail("%s ended with %d", words[0], status);
  return total;
}

static void print_times(struct samples *s) { printf("p50=%.3f p99=%.3f\n", percentile(s, 50), percentile(s, 99)); }

static void commands(int processes, double seconds) {
  int64_t *done = mmap(NULL, processes * sizeof *done, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  int64_t until = now_ns() + (int64_t)(seconds * 1e9);
  char *words[] = {"/bin/sh", "-c", "echo hi", NULL};
  for (int i = 0; i < processes; i++) {
    if (fork()) continue;
    for (; now_ns() < until; done[i]++)
      if (command(words) != 3) fail("not what was echoed");
    exit(0);
  }
  int64_t all = 0;
  int status, bad = 0;
  for (int i = 0; i < processes; i++) wait(&status), bad |= status;
  if (bad) exit(1);
  for (int i = 0; i < processes; i++) all += done[i];
  printf("rate=%.0f\n", all / seconds);
}

int main(int count, char **words) {
  struct samples times = {0};
  char *what = count > 1 ? words[1] : "";
  if (!strcmp(what, "commands") && count == 4) {
    commands(atoi(words[2]), atof(words[3]));
  } else if (!strcmp(what, "started") && count == 5) {
    int fifo = open(words[3], O_RDWR | O_CLOEXEC);
    if (fifo < 0) fail("%s: %s", words[3], strerror(errno));
    char *stamp[] = {words[2], "start", words[3], NULL};
    for (int i = atoi(words[4]); i > 0; i--) {
      int64_t begun = now_ns(), there;
      command(stamp);
      if (read(fifo, &there, sizeof there) != sizeof there) fail("no stamp");
      add_sample(&times, there - begun);
    }
    print_times(&times);
  } else if (!strcmp(what, "result") && count == 3) {
    char *shell[] = {"/bin/sh", "-c", "true", NULL};
    for (int i = atoi(words[2]); i > 0; i--) {
      int64_t begun = now_ns();
      command(shell);
      add_sample(&times, now_ns() - begun);
    }
    print_times(&times);
  } else if (!strcmp(what, "sync") && count == 4) {
    char path[4096], bytes[200] = {0};
    snprintf(path, sizeof path, "%s/synced", words[2]);
    int fd = open(path, O_CREAT | O_WRONLY | O_APPEND, 0600);
    if (fd < 0) fail("%s: %s", path, strerror(errno));
    for (int i = atoi(words[3]); i > 0; i--) {
      int64_t begun = now_ns();
      write_all(fd, bytes, sizeof bytes);
      if (fdatasync(fd) < 0) fail("fdatasync: %s", strerror(errno));
      add_sample(&times, now_ns() - begun);
      sleep_ms(2);
    }
    unlink(path);
    print_times(&times);
  } else if (!strcmp(what, "pipe") && count == 4) {
    char *print[] = {words[2], "print", words[3], NULL};
    int64_t begun = now_ns();
    if (command(print) != atoll(words[3])) fail("not all that was printed");
    printf("seconds=%.3f\n", (now_ns() - begun) / 1e9);
  } else {
    fail("usage: see the head of bare.c");
  }
}
