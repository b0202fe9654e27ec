// The command that measured runs execute. Linked statically, so that little lies between exec and the first line of main.
//   stamp start FIFO            writes the clock (8 bytes) to FIFO, before anything else
//   stamp tick COUNT MS         prints `@<clock>` lines, about MS ms apart, each in one write
//   stamp print BYTES           prints BYTES bytes as fast as they are taken: lines of 16 bytes, each its own offset in hexadecimal
#include "common.h"

int main(int count, char **words) {
  int64_t now = now_ns();
  if (count == 3 && !strcmp(words[1], "start")) {
    int fd = open(words[2], O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, &now, sizeof now) != sizeof now) return 1;
    return 0;
  }
  if (count == 4 && !strcmp(words[1], "tick")) {
    srand(getpid());
    for (int i = atoi(words[2]); i > 0; i--) {
      char line[64];
      // Uneven, so that no phase of anybody's timer is met each time.
      sleep_ms(atof(words[3]) * (0.5 + (double)rand() / RAND_MAX));
      int length = snprintf(line, sizeof line, "@%lld\n", (long long)now_ns());
      write_all(1, line, length);
    }
    return 0;
  }
  if (count == 3 && !strcmp(words[1], "print")) {
    static char block[65536 + 1];
    int64_t total = atoll(words[2]);
    for (int64_t at = 0; at < total; at += 65536) {
      for (int line = 0; line < 4096; line++) {
        int64_t offset = at + line * 16;
        char *to = block + line * 16;
        for (int digit = 14; digit >= 0; digit--, offset >>= 4) to[digit] = "0123456789abcdef"[offset & 15];
        to[15] = '\n';
      }
      write_all(1, block, total - at < 65536 ? total - at : 65536);
    }
    return 0;
  }
  fail("usage: see the head of stamp.c");
}
