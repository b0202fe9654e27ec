// What people complain about elsewhere, each as a test with the complaint's name: the same situation, made with the real programs, and what
// Muster does instead. When adding one: say in a line what happened there, make that happen here, and look at the host, not only at the API.
import Foundation
import Glibc
import Testing

@Suite struct ComplaintTests {
  // MARK: Work that is gone when a worker is away or dies

  /// Salt publishes a job to whoever is listening at that moment; a minion that is away never hears of it.
  @Test func saltPublishSubscribeATaskPostedWhileItsHostIsAwayRunsWhenItIsBack() async throws {
    try await withStand { (stand: Stand) async throws -> Void in
      try await stand.startAgent("away", projects: ["fleet"])
      try await stand.agent("away").end(SIGKILL)
      let answer = try await stand.post("/v1/producer/fleet/task", ["taskname": "echo back"])
      #expect(answer.status == 202, "\(answer.text)")
      let auuid = try #require((answer["runs"] as? [[String: Any]])?.first?["auuid"] as? String)
      try await stand.startAgent("away", projects: ["fleet"])
      #expect(try await stand.verdict(auuid)["state"] as? String == "succeeded")
    }
  }

  /// Sidekiq pops a job off its list with BRPOP: a worker that is killed right after takes the job with it.
  @Test func sidekiqBRPOPAJobTakenByAWorkerThatIsKilledRightAfterIsNotGone() async throws {
    try await withStand { (stand: Stand) async throws -> Void in
      let settings: [String: Any] = ["task": ["concurrency": 1]]
      try await stand.startAgent("popped", settings: settings)
      let (starts, gate) = (stand.folder.appendingPathComponent("starts"), stand.folder.appendingPathComponent("gate"))
      var auuids = [
        try await stand.task("popped", "echo $MUSTER_RUN >> \(starts.path); while [ ! -e \(gate.path) ]; do sleep 0.05; done")
      ]
      for _ in 0..<20 { auuids.append(try await stand.task("popped", "echo $MUSTER_RUN >> \(starts.path)")) }
      let file = stand.folder.appendingPathComponent("popped.json").path
      _ = try await eventually("all of them have left Redis for the agent's journal") { () async throws -> Bool? in
        let status = String(decoding: try await output(of: "agent", ["status", "-f", file]), as: UTF8.self)
        guard status.contains("running: 1 of 1\n"), status.contains("waiting: 20\n") else { return nil }
        return try await stand.redisCLI("hlen", "muster:{popped}:inbox") == "0" ? true : nil
      }
      try await stand.agent("popped").end(SIGKILL)
      #expect(FileManager.default.createFile(atPath: gate.path, contents: nil))
      try await stand.startAgent("popped", settings: settings)
      for auuid in auuids { #expect(try await stand.verdict(auuid)["state"] as? String == "succeeded") }
      #expect(try startsIn(starts).sorted() == auuids.sorted())
    }
  }

  // MARK: Work that is done twice because somebody lost patience

  /// celery/celery#2599: what is not acknowledged within the visibility timeout is given to a worker again, although the first one has it.
  /// Here the longest patience of all is a lease of 15 s: a host is frozen for longer than that, with one run under way and one waiting.
  @Test func celery2599ATaskThatTakesLongerThanEveryLeaseIsNotStartedAgain() async throws {
    try await withStand { (stand: Stand) async throws -> Void in
      let settings: [String: Any] = ["task": ["concurrency": 1]]
      let agent = try await stand.startAgent("slow", settings: settings)
      let starts = stand.folder.appendingPathComponent("starts")
      let first = try await stand.task("slow", "echo $MUSTER_RUN >> \(starts.path); sleep 26")
      let second = try await stand.task("slow", "echo $MUSTER_RUN >> \(starts.path)")
      _ = try await eventually("the first one runs") {
        try await stand.get("/v1/runs/\(first)")["state"] as? String == "running" ? true : nil
      }
      kill(agent.pid, SIGSTOP)
      _ = try await eventually("the host is given up", within: 40) {
        try await stand.get("/v1/runs/\(first)")["state"] as? String == "unknown" ? true : nil
      }
      kill(agent.pid, SIGCONT)
      for auuid in [first, second] {
        #expect(try await stand.verdict(auuid, within: 60)["state"] as? String == "succeeded")
      }
      #expect(try startsIn(starts) == [first, second])
    }
  }

  /// Oban's Lifeline and River's rescuer put back what has been executing for too long, by time alone: "may transition jobs that are genuinely
  /// executing". Here even a task that asks for retries when it is lost is not retried out of silence.
  @Test func obanAndRiverRescuersAJobThatIsStillExecutingIsNotRescued() async throws {
    try await withStand { (stand: Stand) async throws -> Void in
      let agent = try await stand.startAgent("silent")
      let starts = stand.folder.appendingPathComponent("starts")
      let gate = stand.folder.appendingPathComponent("gate")
      let auuid = try await stand.task(
        "silent", "echo $MUSTER_RUN >> \(starts.path); while [ ! -e \(gate.path) ]; do sleep 0.1; done; exit 7",
        ["retries": 3, "retryDelay": 0.1, "retryOn": ["lost"]])
      _ = try await eventually("it runs") {
        try await stand.get("/v1/runs/\(auuid)")["state"] as? String == "running" ? true : nil
      }
      try await agent.end(SIGKILL)
      _ = try await eventually("its host is given up", within: 40) {
        try await stand.get("/v1/runs/\(auuid)")["state"] as? String == "unknown" ? true : nil
      }
      try await stand.startAgent("silent")
      _ = try await eventually("corrected") {
        try await stand.get("/v1/runs/\(auuid)")["state"] as? String == "running" ? true : nil
      }
      #expect(FileManager.default.createFile(atPath: gate.path, contents: nil))
      let run = try await stand.verdict(auuid)
      #expect(run["state"] as? String == "failed" && run["exitCode"] as? Int == 7)
      #expect(try startsIn(starts) == [auuid])
    }
  }

  // MARK: Work that is "running" for ever

  /// hibiken/asynq#1144: a task stays active for ever when its lease is missing from Redis.
  @Test func asynq1144ATaskWhoseLeaseIsMissingFromRedisEndsAllTheSame() async throws {
    try await withStand { (stand: Stand) async throws -> Void in
      let agent = try await stand.startAgent("leaseless")
      let auuid = try await stand.task("leaseless", "sleep 1; echo done")
      _ = try await eventually("it runs") {
        try await stand.get("/v1/runs/\(auuid)")["state"] as? String == "running" ? true : nil
      }
      _ = try await stand.redisCLI("del", "muster:{leaseless}:lease", "muster:{leaseless}:info", "muster:{leaseless}:inbox")
      try await agent.end(SIGKILL)
      _ = try await stand.redisCLI("del", "muster:{leaseless}:lease", "muster:{leaseless}:journal")
      try await stand.startAgent("leaseless")
      let run = try await stand.verdict(auuid)
      #expect(run["state"] as? String == "succeeded")
      #expect(try await stand.log(auuid) == Data("done\n".utf8))
    }
  }

  /// pixlcore/xyops#21: no process is left on the server, yet the job runs for seven hours and cannot be stopped.
  @Test func xyops21AJobWithoutProcessesIsNotRunning() async throws {
    try await withStand { (stand: Stand) async throws -> Void in
      let agent = try await stand.startAgent("ghost")
      let auuid = try await stand.task("ghost", "echo $$; exec sleep 300", ["timeout": -1])
      let pid = try await eventually("it has said its process id") {
        pid_t(String(decoding: try await stand.log(auuid), as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines))
      }
      let runners = try await children(of: agent.pid)
      // Everything that knew of it goes at once, as when the kernel runs out of memory.
      for process in [agent.pid] + runners + [pid] { kill(process, SIGKILL) }
      try await agent.end(SIGKILL)
      try await stand.startAgent("ghost")
      #expect(try await stand.verdict(auuid)["state"] as? String == "lost")
      let answer = try await stand.post("/v1/runs/\(auuid)/kill", [:])
      #expect(answer.status == 409 && answer.text.contains("lost"), "\(answer.text)")
    }
  }

  /// rundeck/rundeck#6439: stuck in the running phase although the shell command has finished; the time limit does not end it either.
  @Test func rundeck6439ACommandThatHasFinishedOrIsOverItsLimitIsNotRunning() async throws {
    try await withStand { (stand: Stand) async throws -> Void in
      try await stand.startAgent("phase")
      // It has finished, and a child holds its output open, for longer than is waited for.
      let finished = try await stand.task("phase", "sleep 300 & exit 3")
      let run = try await stand.verdict(finished, within: 60)
      #expect(run["state"] as? String == "failed" && run["exitCode"] as? Int == 3)
      #expect(run["note"] as? String != nil)
      // It is over its limit, deaf to TERM, and so is its child.
      let late = try await stand.task("phase", "trap '' TERM; (trap '' TERM; sleep 301) & sleep 302; sleep 303", ["timeout": 0.5])
      #expect(try await stand.verdict(late, within: 40)["state"] as? String == "timedOut")
      #expect(try await processes(matching: "^sleep 30[123]$").isEmpty)
      for pid in try await processes(matching: "^sleep 300$") where try environment(of: pid).contains("MUSTER_RUN=\(finished)") {
        kill(pid, SIGKILL)
      }
    }
  }

  // MARK: "Killed", while children live on

  /// saltstack/salt#26490: the job's process is killed, `sh` and `sleep` go on under process 1.
  @Test func salt26490KillEndsTheShellAndWhatItCalled() async throws {
    // `sh` is one of them, though the pattern finds only `sleep`.
    try await expectNothingLeft("sleep 311; echo hello", "^sleep 311$", signalled: 2)
  }

  /// dkron-io/dkron#1385: only the parent is killed, not its children.
  @Test func dkron1385KillEndsChildrenThatMovedToAnotherGroup() async throws {
    try await expectNothingLeft(
      "setsid sleep 312 & setsid -f setsid -f sleep 312; sleep 312", "^sleep 312$", sleeping: 3, signalled: 3)
  }

  /// rundeck/rundeck#1038: "Kill Job" leaves the script's own children running, detached.
  @Test func rundeck1038KillEndsTheTreeOfAScript() async throws {
    try await expectNothingLeft(
      "trap '' TERM HUP; (trap '' TERM; nohup sh -c 'sleep 313 & wait' & wait) & wait; sleep 313", "^sleep 313$", signalled: 1)
  }

  /// - Parameter sleeping: so many processes match the pattern once all of them are there.
  private func expectNothingLeft(_ command: String, _ pattern: String, sleeping: Int = 1, signalled: Int) async throws {
    try await withStand { (stand: Stand) async throws -> Void in
      try await stand.startAgent("tree")
      let auuid = try await stand.task("tree", command)
      _ = try await eventually("its processes are there") {
        try await processes(matching: pattern).count >= sleeping ? true : nil
      }
      let answer = try await stand.post("/v1/runs/\(auuid)/kill", ["grace": 0.5])
      #expect(answer.status == 202 && answer["stopRequestedAt"] as? String != nil, "\(answer.text)")
      let run = try await stand.verdict(auuid)
      #expect(run["state"] as? String == "killed")
      #expect((run["signalled"] as? Int ?? 0) >= signalled && run["left"] as? Int == 0, "\(run)")
      #expect(try await processes(matching: pattern).isEmpty)
      let again = try await stand.post("/v1/runs/\(auuid)/kill", [:])
      #expect(again.status == 409 && again.text.contains("already_ended") && again.text.contains("killed"), "\(again.text)")
    }
  }

  // MARK: Looking at the host

  private func startsIn(_ file: URL) throws -> [String] {
    try String(contentsOf: file, encoding: .utf8).split(separator: "\n").map(String.init)
  }

  private func processes(matching pattern: String) async throws -> [pid_t] {
    String(decoding: try await output(of: "pgrep", ["-f", pattern], allowFailure: true), as: UTF8.self)
      .split(separator: "\n").compactMap { pid_t($0) }
  }

  private func children(of pid: pid_t) async throws -> [pid_t] {
    String(decoding: try await output(of: "pgrep", ["-P", "\(pid)"], allowFailure: true), as: UTF8.self)
      .split(separator: "\n").compactMap { pid_t($0) }
  }

  private func environment(of pid: pid_t) throws -> [String] {
    guard let data = FileManager.default.contents(atPath: "/proc/\(pid)/environ") else { return [] }
    return data.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
  }
}
