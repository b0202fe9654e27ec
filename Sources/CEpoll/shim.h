// What Swift's Glibc module leaves out and the event loop needs: epoll, eventfd, and three calls that glibc only
// declares under _GNU_SOURCE. Nothing is compiled or linked: everything here is in the C library or inlined.
#ifndef MUSTER_CEPOLL_H
#define MUSTER_CEPOLL_H

#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

extern int accept4(int, struct sockaddr *, socklen_t *, int);

// Constants that the importer shows as enums of their own types, or not at all.
static const uint32_t cepoll_in = EPOLLIN;
static const uint32_t cepoll_out = EPOLLOUT;
static const uint32_t cepoll_rdhup = EPOLLRDHUP;
static const uint32_t cepoll_err = EPOLLERR;
static const uint32_t cepoll_hup = EPOLLHUP;
static const uint32_t cepoll_edge = (uint32_t)EPOLLET;
static const int cepoll_path = 010000000;  // O_PATH, hidden without _GNU_SOURCE; the same on every architecture Swift runs on

// epoll_event is packed on x86-64: reading and writing its union through C keeps the layout's business here.
static inline uint64_t cepoll_token(const struct epoll_event *event) { return event->data.u64; }
static inline int cepoll_add(int epoll, int fd, uint32_t events, uint64_t token) {
  struct epoll_event event = {.events = events, .data.u64 = token};
  return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}
static inline int cepoll_remove(int epoll, int fd) { return epoll_ctl(epoll, EPOLL_CTL_DEL, fd, 0); }
static inline int cepoll_create(void) { return epoll_create1(EPOLL_CLOEXEC); }
static inline int cepoll_eventfd(void) { return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }
static inline int cepoll_accept(int fd, struct sockaddr *address, socklen_t *length) {
  return accept4(fd, address, length, SOCK_NONBLOCK | SOCK_CLOEXEC);
}
static inline int cepoll_socket(int family) { return socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0); }

#endif
