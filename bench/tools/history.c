// history DATABASE AGENTS TASKS PROJECT: fills a dashboard's database (made by it, and stopped meanwhile) with agents `sim-00000` … that all are
// members of PROJECT, and with TASKS ended tasks for all of them: a run and three bytes of output each. One run in 33 has failed.
// Prints runs, seconds.
#include <sqlite3.h>

#include "common.h"

static sqlite3 *db;

static void run(const char *sql) {
  char *message = NULL;
  if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK) fail("%s", message);
}

static sqlite3_stmt *prepare(const char *sql) {
  sqlite3_stmt *statement;
  if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK) fail("%s", sqlite3_errmsg(db));
  return statement;
}

static void text(sqlite3_stmt *s, int column, const char *value) { sqlite3_bind_text(s, column, value, -1, SQLITE_TRANSIENT); }
static void number(sqlite3_stmt *s, int column, int64_t value) { sqlite3_bind_int64(s, column, value); }

static void step(sqlite3_stmt *statement) {
  if (sqlite3_step(statement) != SQLITE_DONE) fail("%s", sqlite3_errmsg(db));
  sqlite3_reset(statement);
}

// A ULID of that millisecond.
static void ulid(char *to, int64_t ms, int64_t rest) {
  static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
  for (int i = 9; i >= 0; i--, ms >>= 5) to[i] = digits[ms & 31];
  for (int i = 25; i >= 10; i--, rest >>= 5) to[i] = digits[rest & 31];
  to[26] = 0;
}

int main(int count, char **words) {
  if (count != 5) fail("usage: history DATABASE AGENTS TASKS PROJECT");
  int agents = atoi(words[2]), tasks = atoi(words[3]);
  if (sqlite3_open_v2(words[1], &db, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK) fail("%s", sqlite3_errmsg(db));
  run("PRAGMA synchronous = OFF; PRAGMA cache_size = -262144; PRAGMA wal_autocheckpoint = 100000");
  int64_t begun = now_ns();
  struct timespec wall;
  clock_gettime(CLOCK_REALTIME, &wall);
  int64_t now = wall.tv_sec * 1000LL;

  run("BEGIN");
  sqlite3_stmt *agent = prepare("INSERT INTO agents (uuid, hello, created_at, last_seen_at) VALUES (?, ?, ?, ?)");
  sqlite3_stmt *member = prepare("INSERT INTO members (project, uuid) VALUES (?, ?)");
  for (int i = 0; i < agents; i++) {
    char name[32], hello[600];
    snprintf(name, sizeof name, "sim-%05d", i);
    snprintf(hello, sizeof hello,
             "{\"protocol\":1,\"projects\":[\"%s\"],\"hostname\":\"%s\",\"address\":\"127.0.0.1\",\"version\":\"1.0.0\",\"os\":\"Debian 12\","
             "\"arch\":\"x86_64\",\"startedAt\":%lld,\"concurrency\":4,\"httpPort\":7070,\"sends\":0}",
             words[4], name, (long long)now);
    text(agent, 1, name), text(agent, 2, hello), number(agent, 3, now), number(agent, 4, now);
    step(agent);
    text(member, 1, words[4]), text(member, 2, name);
    step(member);
  }
  run("COMMIT");

  sqlite3_stmt *task = prepare(
    "INSERT INTO tasks (id, auuid, target, target_kind, taskname, spec, origin, created_at, start_before)"
    " VALUES (?, ?, ?, 'project', 'echo hi', '{\"taskname\":\"echo hi\"}', 'http', ?, ?)");
  sqlite3_stmt *one = prepare(
    "INSERT INTO runs (task, uuid, project, state, number, reported, exit_code, queued_at, sent_at, started_at, finished_at, start_before,"
    " output_bytes, output_stored, stdout_sha256, stderr_sha256) VALUES (?, ?, ?, ?, 1, 1, ?, ?, ?, ?, ?, ?, 3, 3,"
    " '98ea6e4f216f2fb4b69fff9b3a44842c38686ca685f3f55dc48c5d3fb1107be4',"
    " 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855')");
  sqlite3_stmt *output = prepare("INSERT INTO output (run, attempt, offset, segments, bytes) VALUES (?, 1, 0, '1:3', X'68690A')");
  int64_t runs = 0;
  for (int t = 0; t < tasks; t++) {
    // The last hour.
    int64_t at = now - 3600000 + (int64_t)t * (3600000 / tasks);
    char id[27], auuid[128];
    ulid(id, at, 0x123456789abLL + t);
    snprintf(auuid, sizeof auuid, "%s-%s", words[4], id);
    run("BEGIN");
    text(task, 1, id), text(task, 2, auuid), text(task, 3, words[4]), number(task, 4, at), number(task, 5, at + 2592000000LL);
    step(task);
    for (int i = 0; i < agents; i++, runs++) {
      char name[32];
      int failed = runs % 33 == 32;
      snprintf(name, sizeof name, "sim-%05d", i);
      text(one, 1, id), text(one, 2, name), text(one, 3, words[4]), text(one, 4, failed ? "failed" : "succeeded");
      number(one, 5, failed);
      for (int column = 6; column <= 9; column++) number(one, column, at + column);
      number(one, 10, at + 2592000000LL);
      step(one);
      number(output, 1, sqlite3_last_insert_rowid(db));
      step(output);
    }
    run("COMMIT");
  }
  run("PRAGMA wal_checkpoint(TRUNCATE)");
  printf("runs=%lld seconds=%.1f\n", (long long)runs, (now_ns() - begun) / 1e9);
}
