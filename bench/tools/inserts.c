// inserts MIGRATIONS-FOLDER DATABASE GROUP SECONDS: what accepting writes, by the bare SQLite calls: the same rows into the same schema with
// the same pragmas, GROUP tasks in each transaction, each transaction on the disk (WAL, synchronous = FULL) before the next begins.
// The limit beside the rows about accepted tasks: no HTTP, no JSON, no waiting for others. Prints rate (tasks per second).
#include <dirent.h>
#include <sqlite3.h>

#include "common.h"

static sqlite3 *db;

static void run(const char *sql) {
  char *message = NULL;
  if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK) fail("%s", message);
}

static sqlite3_stmt *prepare(const char *sql) {
  sqlite3_stmt *statement;
  if (sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL) != SQLITE_OK) fail("%s", sqlite3_errmsg(db));
  return statement;
}

static int is_sql(const struct dirent *entry) {
  size_t length = strlen(entry->d_name);
  return length > 4 && !strcmp(entry->d_name + length - 4, ".sql");
}

static void migrate(const char *folder) {
  struct dirent **entries;
  int count = scandir(folder, &entries, is_sql, alphasort);
  if (count <= 0) fail("%s: no migrations", folder);
  for (int i = 0; i < count; i++) {
    char path[4096], *sql = calloc(1, 1 << 20);
    snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
    FILE *file = fopen(path, "r");
    if (!file || !fread(sql, 1, (1 << 20) - 1, file)) fail("%s: cannot be read", path);
    fclose(file);
    run(sql);
    free(sql);
  }
}

static void text(sqlite3_stmt *statement, int column, const char *value) { sqlite3_bind_text(statement, column, value, -1, SQLITE_STATIC); }

static void step(sqlite3_stmt *statement) {
  if (sqlite3_step(statement) != SQLITE_DONE) fail("%s", sqlite3_errmsg(db));
  sqlite3_reset(statement);
}

int main(int count, char **words) {
  if (count != 5) fail("usage: inserts MIGRATIONS-FOLDER DATABASE GROUP SECONDS");
  if (sqlite3_open(words[2], &db) != SQLITE_OK) fail("%s", sqlite3_errmsg(db));
  run("PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY;"
      "PRAGMA cache_size = -8000; PRAGMA wal_autocheckpoint = 16000; PRAGMA foreign_keys = OFF");
  migrate(words[1]);
  sqlite3_stmt *task = prepare(
    "INSERT INTO tasks (id, auuid, target, target_kind, taskname, args, spec, origin, created_at, start_before)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
  sqlite3_stmt *one = prepare(
    "INSERT INTO runs (task, uuid, project, state, number, queued_at, sent_at, start_before) VALUES (?, ?, ?, ?, ?, ?, ?, ?)");
  sqlite3_stmt *newest = prepare(
    "INSERT INTO store (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = max(value, excluded.value)");
  sqlite3_stmt *project = prepare("SELECT project FROM members WHERE uuid = ? ORDER BY project LIMIT 1");
  int group = atoi(words[3]);
  int64_t begun = now_ns(), until = begun + (int64_t)(atof(words[4]) * 1e9), tasks = 0;
  while (now_ns() < until) {
    run("BEGIN IMMEDIATE");
    for (int i = 0; i < group; i++, tasks++) {
      char id[32], auuid[64];
      snprintf(id, sizeof id, "01K0000000%016llX", (unsigned long long)tasks);
      snprintf(auuid, sizeof auuid, "absent-%s", id);
      text(project, 1, "absent");
      sqlite3_step(project);
      sqlite3_reset(project);
      text(task, 1, id), text(task, 2, auuid), text(task, 3, "absent"), text(task, 4, "agent"), text(task, 5, "echo hi");
      sqlite3_bind_null(task, 6);
      text(task, 7, "{\"taskname\":\"echo hi\",\"args\":null,\"env\":null,\"cwd\":null,\"stdin\":null,\"timeout\":null,\"command\":null}");
      text(task, 8, "http");
      sqlite3_bind_int64(task, 9, 1763000000000 + tasks);
      sqlite3_bind_int64(task, 10, 1765592000000 + tasks);
      step(task);
      text(one, 1, id), text(one, 2, "absent");
      sqlite3_bind_null(one, 3);
      text(one, 4, "queued");
      sqlite3_bind_null(one, 5);
      sqlite3_bind_int64(one, 6, 1763000000000 + tasks);
      sqlite3_bind_null(one, 7);
      sqlite3_bind_int64(one, 8, 1765592000000 + tasks);
      step(one);
      text(newest, 1, "newest_task"), text(newest, 2, id);
      step(newest);
    }
    run("COMMIT");
  }
  printf("rate=%.0f\n", tasks / ((now_ns() - begun) / 1e9));
}
