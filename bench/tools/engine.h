// The load engine: one thread, epoll, keep-alive connections with one request in flight each. It does as little as it can for a request (one
// write, one read, one look at the head), because it shares the machine with what it measures.
#ifndef BENCH_ENGINE_H
#define BENCH_ENGINE_H
#include <sys/epoll.h>

#include "common.h"

struct load {
  int port, connections;
  double seconds;    // how long, where `count` is 0
  int64_t count;     // so many requests in all
  const char *request;
  // What came of it.
  int64_t done, failed;
  double took;       // seconds
  int reply_bytes;   // of one reply, head and body
  struct samples times;
};

struct load_connection {
  int fd;
  int64_t sent_at;
  size_t have, want;  // bytes of the present reply; `want` 0: its head is not complete
  int status;
  char buffer[16384];
};

static void load_send(struct load *l, struct load_connection *c, size_t length, int64_t now) {
  c->have = c->want = 0;
  c->sent_at = now;
  if (write(c->fd, l->request, length) != (ssize_t)length) fail("a request did not fit: %s", strerror(errno));
}

// 1 once the reply is whole.
static int load_receive(struct load *l, struct load_connection *c) {
  ssize_t n = read(c->fd, c->buffer + (c->want ? 0 : c->have), sizeof c->buffer - 1 - (c->want ? 0 : c->have));
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
  if (n <= 0) fail("the server closed a connection");
  c->have += n;
  if (!c->want) {
    c->buffer[c->have] = 0;
    char *end = strstr(c->buffer, "\r\n\r\n"), *length;
    if (!end) return 0;
    c->status = atoi(c->buffer + 9);
    length = strcasestr(c->buffer, "\r\ncontent-length:");
    if (!length || length > end) fail("a reply without Content-Length: %.300s", c->buffer);
    c->want = end + 4 - c->buffer + atoll(length + 17);
    l->reply_bytes = c->want;
  }
  if (c->have > c->want) fail("more than one reply: %.300s", c->buffer);
  if (c->have < c->want) return 0;
  if (c->status < 200 || c->status > 299) {
    if (!l->failed++) fprintf(stderr, "status %d: %.400s\n", c->status, c->buffer);
  }
  return 1;
}

__attribute__((unused)) static void run_load(struct load *l) {
  int epoll = epoll_create1(EPOLL_CLOEXEC);
  struct load_connection *all = calloc(l->connections, sizeof *all);
  size_t length = strlen(l->request);
  int64_t begun = now_ns(), warm = begun, until = 0, sent = 0;
  // The first tenth warms up and is not counted, unless so many requests were asked for.
  if (!l->count) {
    warm = begun + (int64_t)(l->seconds * 1e8);
    until = warm + (int64_t)(l->seconds * 1e9);
  }
  for (int i = 0; i < l->connections; i++) {
    if (l->count && sent == l->count) break;
    all[i].fd = connect_to(l->port);
    fcntl(all[i].fd, F_SETFL, O_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &all[i]};
    epoll_ctl(epoll, EPOLL_CTL_ADD, all[i].fd, &event);
    load_send(l, &all[i], length, now_ns());
    sent++;
  }
  struct epoll_event events[256];
  for (;;) {
    int n = epoll_wait(epoll, events, 256, 15000);
    if (n == 0) fail("no answer for 15 s");
    int64_t now = now_ns();
    if (until && now >= until) break;
    for (int i = 0; i < n; i++) {
      struct load_connection *c = events[i].data.ptr;
      if (!load_receive(l, c)) continue;
      if (now >= warm) {
        l->done++;
        add_sample(&l->times, now - c->sent_at);
      }
      if (!l->count || sent < l->count) {
        load_send(l, c, length, now);
        sent++;
      }
    }
    if (l->count && l->done == l->count) break;
  }
  l->took = (now_ns() - warm) / 1e9;
  for (int i = 0; i < l->connections; i++)
    if (all[i].fd) close(all[i].fd);
  close(epoll);
  free(all);
}
#endif
