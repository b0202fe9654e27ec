// reply BYTES TYPE: libmicrohttpd answering every GET with a body of BYTES bytes of that content type: one thread, epoll.
// The limit beside the rows about GET. Prints its port, serves until it is ended.
#include <microhttpd.h>

#include "common.h"

static struct MHD_Response *response;

static enum MHD_Result answer(
  void *context, struct MHD_Connection *connection, const char *url, const char *method, const char *version, const char *data,
  size_t *size, void **state
) {
  (void)context, (void)url, (void)method, (void)version, (void)data, (void)size;
  // The first call is for the head alone.
  static int seen;
  if (!*state) {
    *state = &seen;
    return MHD_YES;
  }
  return MHD_queue_response(connection, MHD_HTTP_OK, response);
}

int main(int count, char **words) {
  if (count != 3) fail("usage: reply BYTES TYPE");
  size_t size = atoi(words[1]);
  char *body = malloc(size + 1);
  memset(body, 'x', size);
  response = MHD_create_response_from_buffer(size, body, MHD_RESPMEM_PERSISTENT);
  MHD_add_response_header(response, "Content-Type", words[2]);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  struct MHD_Daemon *daemon = MHD_start_daemon(
    MHD_USE_EPOLL | MHD_USE_INTERNAL_POLLING_THREAD, 0, NULL, NULL, answer, NULL, MHD_OPTION_SOCK_ADDR, &address, MHD_OPTION_END);
  if (!daemon) fail("libmicrohttpd does not start");
  printf("%d\n", MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT)->port);
  fflush(stdout);
  for (;;) pause();
}
