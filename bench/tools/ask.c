// ask PORT METHOD PATH [BODY [ACCEPT]]: one request; the body to stdout, `ms=` to stderr. Ends with 1 where the status is not 2xx.
#include "common.h"

int main(int count, char **words) {
  if (count < 4) fail("usage: ask PORT METHOD PATH [BODY [ACCEPT]]");
  char extra[200] = "";
  if (count > 5) snprintf(extra, sizeof extra, "Accept: %s\r\n", words[5]);
  char *request = make_request(words[2], words[3], extra, count > 4 ? words[4] : "");
  static struct reply reply = {.fd = -1};
  int fd = connect_to(atoi(words[1]));
  int64_t begun = now_ns();
  write_all(fd, request, strlen(request));
  begin_reply(&reply, fd);
  char *bytes;
  size_t n;
  while ((n = next_bytes(&reply, &bytes))) write_all(1, bytes, n);
  fprintf(stderr, "ms=%.3f\n", (now_ns() - begun) / 1e6);
  return reply.status >= 200 && reply.status <= 299 ? 0 : 1;
}
