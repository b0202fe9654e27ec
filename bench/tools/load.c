// load PORT CONNECTIONS SECONDS METHOD PATH [BODY]: the same request over and over on keep-alive connections.
// Prints rate (per second), p50 and p99 (ms), reply (bytes of one), failed (replies that are not 2xx).
#include "engine.h"

int main(int count, char **words) {
  if (count < 6) fail("usage: load PORT CONNECTIONS SECONDS METHOD PATH [BODY]");
  struct load load = {.port = atoi(words[1]), .connections = atoi(words[2]), .seconds = atof(words[3])};
  load.request = make_request(words[4], words[5], "", count > 6 ? words[6] : "");
  run_load(&load);
  printf("rate=%.0f p50=%.3f p99=%.3f reply=%d failed=%lld\n", load.done / load.took, percentile(&load.times, 50),
         percentile(&load.times, 99), load.reply_bytes, (long long)load.failed);
  return load.failed ? 1 : 0;
}
