// kept PORT AUUID BYTES CAP: reads a run's log as text and checks that of the BYTES that `stamp print` wrote the first CAP / 2 and the last CAP / 2
// are there, byte for byte (all of them where they fit). Prints kept (bytes).
#include "common.h"

int main(int count, char **words) {
  if (count != 5) fail("usage: kept PORT AUUID BYTES CAP");
  int64_t total = atoll(words[3]), cap = atoll(words[4]);
  char path[400];
  snprintf(path, sizeof path, "/v1/runs/%s/log", words[2]);
  static struct reply reply = {.fd = -1};
  int fd = connect_to(atoi(words[1]));
  char *request = make_request("GET", path, "Accept: text/plain\r\n", "");
  write_all(fd, request, strlen(request));
  begin_reply(&reply, fd);
  if (reply.status != 200) fail("log: status %d", reply.status);
  int64_t kept = 0, wanted = 0;
  char *bytes, line[17] = "";
  size_t n;
  while ((n = next_bytes(&reply, &bytes))) {
    for (size_t i = 0; i < n; i++) {
      line[kept++ & 15] = bytes[i];
      if (kept & 15) continue;
      if (strtoll(line, NULL, 16) != wanted) fail("offset %s stands where %llx should", line, (long long)wanted);
      wanted += 16;
      if (total > cap && wanted == cap / 2) wanted = total - cap / 2;
    }
  }
  if (wanted != total) fail("the log ends after %lld bytes, at offset %lld of %lld", (long long)kept, (long long)wanted, (long long)total);
  printf("kept=%lld\n", (long long)kept);
}
