// What the bench's tools share: clocks, percentiles, a blocking HTTP client. Each tool is one small program that prints `name=value` words;
// `bench/run` compiles them with gcc -O2 and reads the words. Times are CLOCK_MONOTONIC nanoseconds, the same in every process of a host.
#ifndef BENCH_COMMON_H
#define BENCH_COMMON_H
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

__attribute__((format(printf, 1, 2), noreturn, unused)) static void fail(const char *format, ...) {
  va_list list;
  va_start(list, format);
  vfprintf(stderr, format, list);
  va_end(list);
  fputc('\n', stderr);
  exit(1);
}

__attribute__((unused)) static int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

__attribute__((unused)) static void sleep_ms(double ms) {
  struct timespec t = {(time_t)(ms / 1000), (long)((ms - 1000 * (long)(ms / 1000)) * 1e6)};
  while (nanosleep(&t, &t) < 0 && errno == EINTR) {}
}

// Samples of a duration, nanoseconds.
struct samples {
  int64_t *values;
  size_t count, room;
};

__attribute__((unused)) static void add_sample(struct samples *s, int64_t value) {
  if (s->count == s->room) {
    s->room = s->room ? s->room * 2 : 1024;
    s->values = realloc(s->values, s->room * sizeof *s->values);
    if (!s->values) fail("out of memory");
  }
  s->values[s->count++] = value;
}

static int compare_samples(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

// Milliseconds; nearest rank.
__attribute__((unused)) static double percentile(struct samples *s, double p) {
  if (!s->count) return 0;
  qsort(s->values, s->count, sizeof *s->values, compare_samples);
  size_t rank = (size_t)(p / 100 * s->count + 0.999999);
  if (rank < 1) rank = 1;
  if (rank > s->count) rank = s->count;
  return s->values[rank - 1] / 1e6;
}

__attribute__((unused)) static int connect_to(int port) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0) fail("port %d: %s", port, strerror(errno));
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  return fd;
}

// One request as bytes; `extra` is further header lines, each with its CRLF.
__attribute__((unused)) static char *make_request(const char *method, const char *path, const char *extra, const char *body) {
  char *text = NULL;
  if (asprintf(&text, "%s %s HTTP/1.1\r\nHost: localhost\r\n%sContent-Length: %zu\r\n\r\n%s", method, path, extra, strlen(body), body) < 0)
    fail("out of memory");
  return text;
}

__attribute__((unused)) static void write_all(int fd, const char *bytes, size_t count) {
  while (count) {
    ssize_t n = write(fd, bytes, count);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) fail("write: %s", strerror(errno));
    bytes += n;
    count -= n;
  }
}

// A body as it comes, whatever its framing: bytes are handed to `take` without the chunks around them.
struct reply {
  int fd, status, chunked, done, at_head;
  int64_t left;  // bytes of the body or of the chunk still to come; -1: until the end
  char buffer[65536];
  size_t start, end;
};

// 0: the other end has closed.
static int fill(struct reply *r) {
  if (r->start == r->end) r->start = r->end = 0;
  if (r->start && r->end == sizeof r->buffer) {
    memmove(r->buffer, r->buffer + r->start, r->end - r->start);
    r->end -= r->start;
    r->start = 0;
  }
  ssize_t n;
  while ((n = read(r->fd, r->buffer + r->end, sizeof r->buffer - r->end)) < 0 && errno == EINTR) {}
  if (n < 0) fail("read: %s", strerror(errno));
  r->end += n;
  return n > 0;
}

// The next line without its CRLF, or NULL at the end of the stream.
static char *next_line(struct reply *r) {
  for (;;) {
    char *from = r->buffer + r->start, *stop = memmem(from, r->end - r->start, "\r\n", 2);
    if (stop) {
      *stop = 0;
      r->start = stop + 2 - r->buffer;
      return from;
    }
    if (!fill(r)) return NULL;
  }
}

__attribute__((unused)) static void begin_reply(struct reply *r, int fd) {
  if (r->fd != fd) r->start = r->end = 0;
  r->fd = fd;
  r->status = r->chunked = r->done = 0;
  r->left = -1;
  char *line = next_line(r);
  if (!line || sscanf(line, "HTTP/1.1 %d", &r->status) != 1) fail("no HTTP reply");
  while ((line = next_line(r)) && *line) {
    if (!strncasecmp(line, "content-length:", 15)) r->left = atoll(line + 15);
    if (!strncasecmp(line, "transfer-encoding:", 18)) r->chunked = 1, r->left = 0;
  }
  if (!r->chunked && r->left == 0) r->done = 1;
}

// Some bytes of the body; 0 at its end.
__attribute__((unused)) static size_t next_bytes(struct reply *r, char **bytes) {
  if (r->done) return 0;
  if (r->chunked && r->left == 0) {
    char *line = next_line(r);
    if (line && !*line) line = next_line(r);  // the CRLF after the chunk before
    if (!line) fail("a chunked reply was cut off");
    r->left = strtoll(line, NULL, 16);
    if (r->left == 0) {
      next_line(r);
      r->done = 1;
      return 0;
    }
  }
  if (r->start == r->end && !fill(r)) {
    if (r->left > 0) fail("a reply was cut off");
    r->done = 1;
    return 0;
  }
  size_t count = r->end - r->start;
  if (r->left >= 0 && (int64_t)count > r->left) count = r->left;
  *bytes = r->buffer + r->start;
  r->start += count;
  if (r->left >= 0) r->left -= count;
  if (!r->chunked && r->left == 0) r->done = 1;
  return count;
}

// A whole exchange on an open connection. The body is the caller's to free; it ends in a NUL.
__attribute__((unused)) static char *exchange(struct reply *r, int fd, const char *request, int *status) {
  write_all(fd, request, strlen(request));
  begin_reply(r, fd);
  *status = r->status;
  char *body = NULL, *bytes;
  size_t length = 0, count;
  while ((count = next_bytes(r, &bytes))) {
    body = realloc(body, length + count + 1);
    memcpy(body + length, bytes, count);
    length += count;
  }
  if (!body) body = malloc(1);
  body[length] = 0;
  return body;
}

// The first string value of that name in a JSON text, copied; fails where there is none.
__attribute__((unused)) static char *json_string(const char *json, const char *name) {
  char key[64];
  snprintf(key, sizeof key, "\"%s\":\"", name);
  const char *from = strstr(json, key);
  if (!from) fail("no \"%s\" in %.300s", name, json);
  from += strlen(key);
  return strndup(from, strcspn(from, "\""));
}
#endif
