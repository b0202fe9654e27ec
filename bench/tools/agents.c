// agents REDIS-PORT COUNT PROJECT SCRIPTS.SWIFT: so many simulated agents `sim-00000` …, each with a connection of its own, speaking to Redis as
// the agent does: lease, hello, heartbeat every 5 s, blocking on control for up to a second, looking at inbox and plain hash between, confirm,
// one report per batch with the output in it, result hash. Only the journal and the command are missing: every run succeeds with "hi", but
// for those whose command holds "hold": they run for good.
// The Lua scripts are read from the source, so that they are the true ones. Prints `registered`, then goes on until it is ended.
#include <hiredis/hiredis.h>
#include <sys/epoll.h>
#include <sys/resource.h>

#include "common.h"

struct agent {
  int fd, number, wanted, got;  // replies wanted of the present pipeline
  enum { registering, listening, looking, confirming, telling } doing;
  redisReader *reader;
  char name[32], journal[17], incarnation[17];
  int64_t records, sequence, beats, next_beat;
  int unacknowledged;
  char (*ids)[40];  // taken and to be told
  int id_count;
  int holds;  // what was taken goes on
};

static struct agent *agents;
static int64_t registered, waiting_to_connect;
static char *project;
static int redis_port, count, poller;

// ---- commands as bytes

static char *out;
static size_t out_length, out_room;

static void put(const void *bytes, size_t length) {
  if (out_length + length > out_room) {
    out_room = (out_length + length) * 2;
    out = realloc(out, out_room);
  }
  memcpy(out + out_length, bytes, length);
  out_length += length;
}

static void words(int n) {
  char head[32];
  put(head, sprintf(head, "*%d\r\n", n));
}

static void bytes_word(const void *bytes, size_t length) {
  char head[32];
  put(head, sprintf(head, "$%zu\r\n", length));
  put(bytes, length);
  put("\r\n", 2);
}

static void word(const char *text) { bytes_word(text, strlen(text)); }

__attribute__((format(printf, 1, 2))) static void wordf(const char *format, ...) {
  static char text[8192];
  va_list list;
  va_start(list, format);
  vsnprintf(text, sizeof text, format, list);
  va_end(list);
  word(text);
}

static void key(struct agent *a, const char *which) { wordf("muster:{%s}:%s", a->name, which); }

// Sends what was put together; such pipelines are small and fit into the socket's buffer.
static void flush(struct agent *a, int replies) {
  a->wanted = replies;
  a->got = 0;
  write_all(a->fd, out, out_length);
  out_length = 0;
}

// ---- scripts

static struct script {
  const char *name;
  char *sha;
} scripts[] = {{"takeLease", 0}, {"renewLease", 0}, {"presence", 0}, {"confirm", 0}, {"result", 0}, {"append", 0}};

static void load_scripts(const char *path) {
  char *source = calloc(1, 1 << 20);
  FILE *file = fopen(path, "r");
  if (!file || !fread(source, 1, (1 << 20) - 1, file)) fail("%s: cannot be read", path);
  fclose(file);
  redisContext *redis = redisConnect("127.0.0.1", redis_port);
  if (!redis || redis->err) fail("Redis on port %d: no connection", redis_port);
  for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++) {
    char name[64];
    snprintf(name, sizeof name, "name: \"%s\"", scripts[i].name);
    char *from = strstr(source, name);
    from = from ? strstr(from, "\"\"\"") : NULL;
    char *to = from ? strstr(from + 3, "\"\"\"") : NULL;
    if (!to) fail("%s: no script %s", path, scripts[i].name);
    redisReply *reply = redisCommand(redis, "SCRIPT LOAD %b", from + 3, (size_t)(to - from - 3));
    if (!reply || reply->type != REDIS_REPLY_STRING) fail("script %s: %s", scripts[i].name, reply ? reply->str : "no reply");
    scripts[i].sha = strdup(reply->str);
    freeReplyObject(reply);
  }
  redisFree(redis);
  free(source);
}

static void call(const char *name, int arguments) {
  for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++) {
    if (strcmp(scripts[i].name, name)) continue;
    words(2 + arguments);
    word("EVALSHA");
    word(scripts[i].sha);
    return;
  }
  fail("no script %s", name);
}

// ---- what an agent says

static int64_t wall_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

static void lease_word(struct agent *a) {
  wordf("%s:%s {\"count\":%lld,\"load1\":0.5,\"running\":0,\"waiting\":0,\"concurrency\":4,\"health\":\"healthy\",\"hostname\":\"%s\",\"pid\":%d}",
        a->journal, a->incarnation, (long long)++a->beats, a->name, a->number + 1000);
}

static void put_presence(struct agent *a) {
  call("presence", 3);
  word("1");
  word("muster:agents");
  word(a->name);
}

static char *hello(struct agent *a) {
  static char text[1024];
  snprintf(text, sizeof text,
           "{\"protocol\":1,\"projects\":[\"%s\"],\"hostname\":\"%s\",\"address\":\"127.0.0.1\",\"version\":\"1.0.0\",\"os\":\"Debian 12\","
           "\"arch\":\"x86_64\",\"startedAt\":%lld,\"concurrency\":4,\"httpPort\":7070,\"sends\":0}",
           project, a->name, (long long)wall_ms());
  return text;
}

// An append of one batch: `events` holds `n` of them, `tails` their output.
static void put_report(struct agent *a, const char *events, int n, const char *tails, size_t tails_length) {
  static char header[262144], frame[300000];
  uint64_t hash = 0xcbf29ce484222325;
  for (char *c = a->name; *c; c++) hash = (hash ^ (unsigned char)*c) * 0x100000001b3;
  int length = snprintf(header, sizeof header,
                        "{\"protocol\":1,\"agent\":\"%s\",\"from\":{\"journal\":\"%s\",\"incarnation\":\"%s\"},\"count\":%lld,\"nonce\":\"%016llx\","
                        "\"first\":%lld,\"oldest\":%lld,\"events\":[%s]}",
                        a->name, a->journal, a->incarnation, (long long)a->records, (long long)a->records + 7, (long long)a->sequence,
                        (long long)a->sequence, events);
  int head = sprintf(frame, "M1R0%08x", length);
  memcpy(frame + head, header, length);
  memcpy(frame + head + length, tails, tails_length);
  call("append", 4);
  word("1");
  wordf("muster:verdicts:%d", (int)(hash % 4));
  word("10000");
  bytes_word(frame, head + length + tails_length);
  a->sequence += n;
}

static void begin(struct agent *a) {
  a->fd = connect_to(redis_port);
  a->reader = redisReaderCreate();
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = a};
  epoll_ctl(poller, EPOLL_CTL_ADD, a->fd, &event);
  a->records = a->sequence = 1;
  a->doing = registering;
  call("takeLease", 8);
  word("3");
  key(a, "lease"), key(a, "journal"), key(a, "fenced");
  word(a->journal);
  lease_word(a);
  word("15000");
  word("");
  words(3);
  word("SET");
  key(a, "info");
  word(hello(a));
  words(3);
  word("SADD");
  word(project);
  word(a->name);
  put_presence(a);
  char event_text[1200];
  snprintf(event_text, sizeof event_text, "{\"kind\":\"hello\",\"hello\":%s}", hello(a));
  put_report(a, event_text, 1, "", 0);
  a->next_beat = now_ns() + (int64_t)(5e9 * rand() / RAND_MAX);
  flush(a, 5);
}

static void listen_on(struct agent *a) {
  a->doing = listening;
  words(3);
  word("BLPOP");
  key(a, "control");
  wordf("%.3f", 0.8 + 0.2 * rand() / RAND_MAX);
  flush(a, 1);
}

static void look(struct agent *a, int rung) {
  int replies = 2;
  a->doing = looking;
  words(2);
  word("HGETALL");
  key(a, "inbox");
  words(2);
  word("EXISTS");
  word(a->name);
  if (a->unacknowledged) {
    words(2);
    word("GET");
    key(a, "acked");
    replies++;
    a->unacknowledged--;
  }
  if (now_ns() >= a->next_beat) {
    a->next_beat = now_ns() + 5000000000LL;
    call("renewLease", 5);
    word("1");
    key(a, "lease");
    wordf("%s:%s", a->journal, a->incarnation);
    lease_word(a);
    word("15000");
    put_presence(a);
    replies += 2;
  }
  if (rung) {
    words(3);
    word("LPOP");
    key(a, "control");
    word("64");
    replies++;
  }
  flush(a, replies);
}

static void confirm(struct agent *a) {
  a->doing = confirming;
  a->records += a->id_count;
  call("confirm", 9 + a->id_count);
  word("4");
  key(a, "lease"), key(a, "fenced"), key(a, "inbox"), key(a, "journal");
  wordf("%s:%s", a->journal, a->incarnation);
  word(a->journal);
  wordf("%lld", (long long)a->records);
  wordf("%016llx", (long long)a->records + 7);
  for (int i = 0; i < a->id_count; i++) word(a->ids[i]);
  flush(a, 1);
}

static void tell(struct agent *a) {
  static char events[262144], tails[4096];
  size_t length = 0, tail = 0;
  int n = a->id_count;
  a->doing = telling;
  if (a->holds) {
    for (int i = 0; i < n; i++)
      length += snprintf(events + length, sizeof events - length, "%s{\"kind\":\"running\",\"attempt\":\"%s\",\"startedAt\":%lld}",
                         i ? "," : "", a->ids[i], (long long)wall_ms());
    put_report(a, events, n, "", 0);
    a->unacknowledged = 3;
    return flush(a, 1);
  }
  for (int i = 0; i < n; i++) {
    length += snprintf(
      events + length, sizeof events - length,
      "%s{\"kind\":\"ended\",\"attempt\":\"%s\",\"verdict\":{\"state\":\"succeeded\",\"exitCode\":0,\"startedAt\":%lld,\"finishedAt\":%lld,"
      "\"outputBytes\":3,\"droppedBytes\":0,\"stdoutSha256\":\"98ea6e4f216f2fb4b69fff9b3a44842c38686ca685f3f55dc48c5d3fb1107be4\","
      "\"stderrSha256\":\"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\",\"signalled\":0,\"left\":0},"
      "\"tail\":{\"attempt\":\"%s\",\"offset\":0,\"segments\":[[1,3]]}}",
      i ? "," : "", a->ids[i], (long long)wall_ms(), (long long)wall_ms(), a->ids[i]);
    memcpy(tails + tail, "hi\n", 3);
    tail += 3;
  }
  put_report(a, events, n, tails, tail);
  for (int i = 0; i < n; i++) {
    call("result", 14);
    word("1");
    wordf("%s-%s", a->name, a->ids[i]);
    word("604800"), word(a->ids[i]);
    word("uuid"), word(a->name), word("taskname"), word("echo hi"), word("log"), word("hi\n"), word("state"), word("succeeded");
    word("exit"), word("0");
  }
  a->unacknowledged = 3;
  flush(a, 1 + n);
}

// ---- what comes back

static void heard(struct agent *a, redisReply *reply, int place) {
  if (reply->type == REDIS_REPLY_ERROR) fail("%s: %s", a->name, reply->str);
  switch (a->doing) {
  case registering:
    if (place == 0 && strcmp(reply->element[0]->str, "ok")) fail("%s gets no lease: %s", a->name, reply->element[0]->str);
    if (place == 4) {
      registered++;
      waiting_to_connect--;
      listen_on(a);
    }
    return;
  case listening: look(a, reply->type == REDIS_REPLY_ARRAY); return;
  case looking:
    if (place == 0) {
      // A window is at most some 70 entries; what is beyond comes with the next look.
      a->id_count = reply->elements / 2 < 100 ? reply->elements / 2 : 100;
      a->ids = realloc(a->ids, (a->id_count + 1) * sizeof *a->ids);
      a->holds = 0;
      for (int i = 0; i < a->id_count; i++) {
        snprintf(a->ids[i], sizeof a->ids[i], "%s", reply->element[2 * i]->str);
        redisReply *envelope = reply->element[2 * i + 1];
        if (memmem(envelope->str, envelope->len, "\"hold\"", 6)) a->holds = 1;
      }
    }
    if (place < a->wanted - 1) return;
    if (a->id_count) {
      confirm(a);
    } else {
      listen_on(a);
    }
    return;
  case confirming: tell(a); return;
  case telling:
    if (place == 0 && reply->integer < 0) fail("%s: the verdict stream is full", a->name);
    if (place == a->wanted - 1) listen_on(a);
    return;
  }
}

int main(int argument_count, char **arguments) {
  if (argument_count != 5) fail("usage: agents REDIS-PORT COUNT PROJECT SCRIPTS.SWIFT");
  redis_port = atoi(arguments[1]);
  count = atoi(arguments[2]);
  project = arguments[3];
  load_scripts(arguments[4]);
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_max < (rlim_t)count + 50) fail("%d agents need so many descriptors; the hard limit is %lld", count, (long long)limit.rlim_max);
  srand(getpid());
  poller = epoll_create1(EPOLL_CLOEXEC);
  agents = calloc(count, sizeof *agents);
  int begun = 0, said = 0;
  for (;;) {
    while (begun < count && waiting_to_connect < 100) {
      struct agent *a = &agents[begun];
      a->number = begun++;
      snprintf(a->name, sizeof a->name, "sim-%05d", a->number);
      snprintf(a->journal, sizeof a->journal, "%08x%08x", rand(), a->number + 1);
      snprintf(a->incarnation, sizeof a->incarnation, "%08x%08x", rand(), a->number + 1);
      waiting_to_connect++;
      begin(a);
    }
    struct epoll_event events[256];
    int n = epoll_wait(poller, events, 256, -1);
    for (int i = 0; i < n; i++) {
      struct agent *a = events[i].data.ptr;
      static char buffer[65536];
      ssize_t got = read(a->fd, buffer, sizeof buffer);
      if (got <= 0) fail("%s: Redis closed the connection", a->name);
      redisReaderFeed(a->reader, buffer, got);
      void *reply = NULL;
      while (redisReaderGetReply(a->reader, &reply) == REDIS_OK && reply) {
        heard(a, reply, a->got++);
        freeReplyObject(reply);
        reply = NULL;
      }
    }
    if (!said && registered == count) {
      said = 1;
      printf("registered\n");
      fflush(stdout);
    }
  }
}
