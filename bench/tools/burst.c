// burst PORT UUID COUNT CONNECTIONS BODY: posts COUNT tasks to one agent as fast as they are accepted, waits until the API shows no open run of
// it, and counts the verdicts by reading the whole list.
// Prints rate (verdicts per second from the first request on), accepted (seconds until the last was accepted), seconds, succeeded.
#include "engine.h"

static struct reply reply = {.fd = -1};

static char *get(int fd, const char *path) {
  int status;
  char *request = make_request("GET", path, "", ""), *body = exchange(&reply, fd, request, &status);
  if (status != 200) fail("%s: status %d: %.300s", path, status, body);
  free(request);
  return body;
}

int main(int count, char **words) {
  if (count != 6) fail("usage: burst PORT UUID COUNT CONNECTIONS BODY");
  char path[600];
  snprintf(path, sizeof path, "/v1/producer/%s/task", words[2]);
  struct load load = {.port = atoi(words[1]), .connections = atoi(words[4]), .count = atoll(words[3])};
  load.request = make_request("POST", path, "", words[5]);
  int64_t begun = now_ns();
  run_load(&load);
  if (load.failed) return 1;
  int fd = connect_to(load.port);
  snprintf(path, sizeof path, "/v1/runs?uuid=%s&state=queued&state=sent&state=running&limit=1", words[2]);
  for (;;) {
    char *body = get(fd, path);
    int open = !strstr(body, "\"items\":[]");
    free(body);
    if (!open) break;
    if (now_ns() - begun > 300 * 1000000000LL) fail("not all ended within 300 s");
    sleep_ms(20);
  }
  double seconds = (now_ns() - begun) / 1e9;
  int64_t succeeded = 0;
  char after[200] = "";
  for (;;) {
    snprintf(path, sizeof path, "/v1/runs?uuid=%s&state=succeeded&limit=1000%s%s", words[2], *after ? "&after=" : "", after);
    char *body = get(fd, path), *next;
    for (char *at = body; (at = strstr(at, "\"state\":\"succeeded\"")); at++) succeeded++;
    next = strstr(body, "\"next\":\"");
    if (!next) break;
    snprintf(after, sizeof after, "%.*s", (int)strcspn(next + 8, "\""), next + 8);
    free(body);
  }
  printf("rate=%.0f accepted=%.3f seconds=%.3f succeeded=%lld\n", load.count / seconds, load.took, seconds, (long long)succeeded);
  return succeeded == load.count ? 0 : 1;
}
