// The objects that answers are made of, field by field as in API.md. When adding a field, also: its row in docs/api.md, and ListTests.

import Shared

extension RunRecord {
  /// A run's fields.
  /// - Parameters:
  ///   - attempts: all of them, where the route gives them.
  ///   - log: the first bytes of its log, where the route gives them.
  func write(to body: inout JSONBody, attempts: [RunRecord]? = nil, log: EncodedLog? = nil) {
    body.field("auuid", id.description)
    body.field("task", id.task.description)
    body.field("uuid", id.agent.text)
    body.field("project", project)
    body.field("taskname", taskname)
    body.json("args", args)
    body.field("state", state.rawValue)
    body.field("attempt", attempt)
    body.field("exitCode", exitCode)
    body.field("signal", signal)
    body.field("reason", reason)
    body.field("overdue", overdue)
    body.time("queuedAt", queuedAt)
    body.time("sentAt", sentAt)
    body.time("startedAt", startedAt)
    body.time("finishedAt", finishedAt)
    body.time("stopRequestedAt", stopRequestedAt)
    body.field("outputBytes", outputBytes)
    body.field("droppedBytes", droppedBytes)
    body.field("stdoutSha256", stdoutSha256)
    body.field("stderrSha256", stderrSha256)
    body.field("signalled", signalled)
    body.field("left", left)
    body.field("note", note)
    body.field("retries", retries)
    body.time("nextAttemptAt", nextAttemptAt)
    if let attempts { body.list("attempts", attempts) { body, attempt in body.object { attempt.writeAttempt(to: &$0) } } }
    if let log {
      body.field("log", log.text)
      body.field("encoding", log.encoding.rawValue)
    }
  }
}

extension JSONBody {
  /// State → number of runs, of those states that there are.
  mutating func counts(_ counts: [RunState: Int]) {
    object("counts") { body in
      for state in RunState.allCases {
        if let count = counts[state] { body.field(state.rawValue, count) }
      }
    }
  }
}

extension RunRecord {
  /// The fields of the attempt that it shows.
  func writeAttempt(to body: inout JSONBody) {
    body.field("attempt", attempt)
    body.field("state", state.rawValue)
    body.field("exitCode", exitCode)
    body.field("signal", signal)
    body.field("reason", reason)
    body.time("sentAt", sentAt)
    body.time("startedAt", startedAt)
    body.time("finishedAt", finishedAt)
    body.field("outputBytes", outputBytes)
    body.field("droppedBytes", droppedBytes)
    body.field("stdoutSha256", stdoutSha256)
    body.field("stderrSha256", stderrSha256)
    body.field("signalled", signalled)
    body.field("left", left)
    body.field("note", note)
  }
}

extension TaskRecord {
  func write(to body: inout JSONBody, counts: [RunState: Int], runs: [RunRecord]) {
    body.field("task", id.description)
    body.field("auuid", auuid)
    body.field("taskname", taskname)
    body.json("args", args)
    body.field("target", target)
    body.time("createdAt", createdAt)
    body.field("origin", origin)
    body.counts(counts)
    body.list("runs", runs) { body, run in body.object { run.write(to: &$0) } }
  }
}

extension AgentRecord {
  func write(to body: inout JSONBody, _ presence: Presence) {
    let beat = presence.online ? presence.beat : nil
    body.field("uuid", id.text)
    body.list("projects", projects) { $0.element($1) }
    body.field("hostname", hello?.hostname)
    body.field("address", hello?.address)
    body.field("version", hello?.version)
    body.field("os", hello?.os)
    body.field("arch", hello?.arch)
    body.field("online", presence.online)
    body.time("lastSeenAt", presence.lastSeenAt ?? lastSeenAt)
    body.time("startedAt", hello?.startedAt)
    body.field("load1", beat?.load1)
    body.field("running", beat?.running)
    body.field("waiting", beat?.waiting)
    body.field("concurrency", beat?.concurrency ?? hello?.concurrency)
    body.field("health", beat?.health)
    body.field("httpPort", hello?.httpPort)
  }
}
