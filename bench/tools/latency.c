// Latencies through the dashboard, one request at a time with a pause between, so that everything is idle when it comes.
//   latency started PORT UUID STAMP FIFO SAMPLES PAUSE-MS   request written → first instruction of the command's main
//   latency result PORT UUID SAMPLES PAUSE-MS               request written → answer of `?wait` to `true` read
//   latency live PORT UUID STAMP COUNT MS                   write in the command → byte at a reader of `?follow=1`
// Prints p50, p99, max (ms), samples.
#include <poll.h>

#include "common.h"

static struct reply reply = {.fd = -1};
static struct samples times;

static char *post(int fd, const char *uuid, const char *query, const char *body, int wanted) {
  char path[300];
  int status;
  snprintf(path, sizeof path, "/v1/producer/%s/task%s", uuid, query);
  char *request = make_request("POST", path, "", body), *answer = exchange(&reply, fd, request, &status);
  if (status != wanted) fail("status %d: %.300s", status, answer);
  free(request);
  return answer;
}

static void started(int fd, const char *uuid, const char *stamp, const char *fifo, int samples, double pause) {
  int reader = open(fifo, O_RDWR | O_CLOEXEC);
  if (reader < 0) fail("%s: %s", fifo, strerror(errno));
  char body[2048];
  snprintf(body, sizeof body, "{\"taskname\":\"%s\",\"args\":[\"start\",\"%s\"]}", stamp, fifo);
  // The first few start what is started once: a runner, a second connection.
  for (int i = -5; i < samples; i++) {
    int64_t begun = now_ns(), there;
    free(post(fd, uuid, "", body, 202));
    struct pollfd wait = {reader, POLLIN, 0};
    if (poll(&wait, 1, 10000) != 1) fail("a command was not started within 10 s");
    if (read(reader, &there, sizeof there) != sizeof there) fail("no stamp");
    if (i >= 0) add_sample(&times, there - begun);
    sleep_ms(pause * (0.5 + (double)rand() / RAND_MAX));
  }
}

static void result(int fd, const char *uuid, int samples, double pause) {
  for (int i = -5; i < samples; i++) {
    int64_t begun = now_ns();
    char *answer = post(fd, uuid, "?wait=10", "{\"taskname\":\"true\"}", 200);
    int64_t there = now_ns();
    if (!strstr(answer, "\"state\":\"succeeded\"")) fail("%.300s", answer);
    free(answer);
    if (i >= 0) add_sample(&times, there - begun);
    sleep_ms(pause * (0.5 + (double)rand() / RAND_MAX));
  }
}

static void live(int port, int fd, const char *uuid, const char *stamp, const char *count, const char *ms) {
  char body[2048], path[400], line[64];
  snprintf(body, sizeof body, "{\"taskname\":\"%s\",\"args\":[\"tick\",\"%s\",\"%s\"]}", stamp, count, ms);
  char *auuid = json_string(post(fd, uuid, "", body, 202), "auuid");
  snprintf(path, sizeof path, "/v1/runs/%s/log?follow=1", auuid);
  int reader = connect_to(port);
  char *request = make_request("GET", path, "Accept: text/plain\r\n", "");
  write_all(reader, request, strlen(request));
  begin_reply(&reply, reader);
  if (reply.status != 200) fail("follow: status %d", reply.status);
  char *bytes;
  size_t length = 0, n;
  while ((n = next_bytes(&reply, &bytes))) {
    int64_t now = now_ns();
    for (size_t i = 0; i < n; i++) {
      if (bytes[i] != '\n') {
        if (length < sizeof line - 1) line[length++] = bytes[i];
        continue;
      }
      line[length] = 0;
      length = 0;
      if (line[0] != '@') fail("not a line of the command's: %s", line);
      add_sample(&times, now - atoll(line + 1));
    }
  }
  if ((int)times.count != atoi(count)) fail("%zu lines of %s arrived", times.count, count);
}

int main(int count, char **words) {
  char *what = count > 3 ? words[1] : "";
  int fd = count > 3 ? connect_to(atoi(words[2])) : -1;
  srand(getpid());
  if (!strcmp(what, "started") && count == 8) {
    started(fd, words[3], words[4], words[5], atoi(words[6]), atof(words[7]));
  } else if (!strcmp(what, "result") && count == 6) {
    result(fd, words[3], atoi(words[4]), atof(words[5]));
  } else if (!strcmp(what, "live") && count == 7) {
    live(atoi(words[2]), fd, words[3], words[4], words[5], words[6]);
  } else {
    fail("usage: see the head of latency.c");
  }
  printf("p50=%.3f p99=%.3f max=%.3f samples=%zu\n", percentile(&times, 50), percentile(&times, 99), percentile(&times, 100), times.count);
}
