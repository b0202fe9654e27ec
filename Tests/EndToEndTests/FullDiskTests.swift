// The dashboard's disk is full: tasks are refused with a clear word, history is read, nothing is half-written, reports wait in Redis; a
// dashboard that is started then starts; and everything goes on by itself once there is room.
import Foundation
import Glibc
import RedisTestSupport
import Testing

@Suite(.enabled(if: SmallDisk.isPossible, SmallDisk.why)) struct FullDiskTests {
  private func data(_ stand: Stand) -> URL { stand.folder.appendingPathComponent("data") }

  /// Posts until there is no room for one more and the dashboard says so. Returns those that were accepted.
  private func fillUp(_ stand: Stand, _ uuid: String) async throws -> [String] {
    var accepted: [String] = []
    _ = try await eventually("health is 503 and says why", within: 60) {
      // Between two looks SQLite may find a little room in its own log: then there is something to fill again.
      accepted += try await postUntilFull(stand, uuid)
      let answer = try await stand.get("/v1/health")
      return answer.status == 503 && answer["health"] as? String == "death" && (answer["store"] as? String ?? "").contains("full")
        ? true : nil
    }
    for path in ["/v1/runs", "/v1/tasks", "/v1/agents", "/v1/overview", "/"] {
      #expect(try await stand.get(path).status == 200, "\(path)")
    }
    return accepted
  }

  /// Returns those that were accepted.
  private func postUntilFull(_ stand: Stand, _ uuid: String) async throws -> [String] {
    var accepted: [String] = []
    for _ in 0..<300 {
      let body: [String: Any] = [
        "taskname": "echo $MUSTER_RUN >> \(stand.starts.path)", "env": ["X": String(repeating: "x", count: 20_000)],
      ]
      let answer = try await stand.post("/v1/producer/\(uuid)/task", body)
      if answer.status == 202, let auuid = answer["auuid"] as? String {
        accepted.append(auuid)
        continue
      }
      #expect(answer.status == 507, "\(answer.text)")
      let error = answer["error"] as? [String: Any] ?? [:]
      #expect(error["code"] as? String == "store_full" && (error["hint"] as? String ?? "").contains("space"), "\(answer.text)")
      return accepted
    }
    throw StandFault("the disk does not fill")
  }

  private func goesOn(_ stand: Stand, _ uuid: String, _ auuids: [String]) async throws {
    try SmallDisk.giveBack(data(stand))
    let back = ContinuousClock.now
    _ = try await eventually("it is healthy again") { try await stand.get("/v1/health").status == 200 ? true : nil }
    expectPrompt("full disk: healthy after there was room", since: back)
    for auuid in auuids { try await stand.expectEnded(auuid, "succeeded", within: 60) }
    expectPrompt("full disk: all verdicts after there was room", since: back, within: .seconds(60))
    let fresh = try await stand.task(uuid, "echo $MUSTER_RUN >> \(stand.starts.path)")
    try await stand.expectEnded(fresh, "succeeded")
    let started = try String(contentsOf: stand.starts, encoding: .utf8).split(separator: "\n").map(String.init)
    #expect(started.sorted() == (auuids + [fresh]).sorted())
  }

  @Test func aFullStoreRefusesTasksServesHistoryAndGoesOnWhenThereIsRoom() async throws {
    let server = try await RedisServerProcess.start()
    try await withStand(redis: "127.0.0.1:\(server.port)", disk: 12) { (stand: Stand) async throws -> Void in
      try await stand.startAgent("d1")
      let before = try await stand.task("d1", "echo $MUSTER_RUN >> \(stand.starts.path)")
      try await stand.expectEnded(before, "succeeded")
      _ = try await eventually("room is kept for the next start") {
        FileManager.default.fileExists(atPath: data(stand).appendingPathComponent("muster.sqlite.reserve").path) ? true : nil
      }
      let gate = stand.folder.appendingPathComponent("gate")
      let under = try await stand.task(
        "d1",
        "echo $MUSTER_RUN >> \(stand.starts.path); while [ ! -e \(gate.path) ]; do sleep 0.1; done; head -c 300000 /dev/zero")
      try await stand.run(under, is: "running")
      try SmallDisk.fill(data(stand))
      var accepted = try await fillUp(stand, "d1")
      _ = try await eventually("the log says it") { stand.dashboard.text.contains("the store takes nothing") ? true : nil }
      // What its agent says meanwhile is neither lost nor acknowledged.
      #expect(FileManager.default.createFile(atPath: gate.path, contents: nil))
      _ = try await eventually("reports wait in Redis") {
        var waiting = 0
        for shard in 0..<4 {
          for kind in ["verdicts", "output"] { waiting += Int(try await stand.redisCLI("xlen", "muster:\(kind):\(shard)")) ?? 0 }
        }
        return waiting > 0 ? true : nil
      }
      // Started anew, stopped in order and killed: it starts, and says so.
      for signal in [SIGTERM, SIGKILL] {
        try await stand.killDashboard(signal)
        try? SmallDisk.fill(data(stand))
        try await stand.restartDashboard(wait: false)
        _ = try await eventually("it starts on a full disk") {
          guard stand.dashboard.isRunning else { throw StandFault(stand.dashboard.text) }
          return try await stand.get("/v1/runs/\(before)")["state"] as? String == "succeeded" ? true : nil
        }
        // A start may leave a little room.
        accepted += try await fillUp(stand, "d1")
      }
      try await goesOn(stand, "d1", [before, under] + accepted)
    }
    try await server.stop()
  }

  @Test func aFullDiskUnderTheEmbeddedRedisAsWell() async throws {
    try await withStand(disk: 24) { (stand: Stand) async throws -> Void in
      try await stand.startAgent("d2")
      let before = try await stand.task("d2", "echo $MUSTER_RUN >> \(stand.starts.path)")
      try await stand.expectEnded(before, "succeeded")
      _ = try await eventually("room is kept for the next start") {
        FileManager.default.fileExists(atPath: data(stand).appendingPathComponent("muster.sqlite.reserve").path) ? true : nil
      }
      try SmallDisk.fill(data(stand))
      let accepted = try await fillUp(stand, "d2")
      try await stand.killDashboard(SIGTERM)
      try SmallDisk.fill(data(stand))
      try await stand.restartDashboard(wait: false)
      _ = try await eventually("it starts on a full disk") {
        guard stand.dashboard.isRunning else { throw StandFault(stand.dashboard.text) }
        return try await stand.get("/v1/runs/\(before)")["state"] as? String == "succeeded" ? true : nil
      }
      try await goesOn(stand, "d2", [before] + accepted)
    }
  }

  @Test func aFolderThatCannotBeWrittenIsSaidAtStart() async throws {
    let server = try await RedisServerProcess.start()
    try await withStand(redis: "127.0.0.1:\(server.port)", disk: 12) { (stand: Stand) async throws -> Void in
      try await stand.killDashboard(SIGTERM)
      try SmallDisk.makeReadOnly(data(stand))
      try await stand.restartDashboard(wait: false)
      let status = try await eventually("it ends") { stand.dashboard.status }
      let last = stand.dashboard.text.split(separator: "\n").last.map(String.init) ?? ""
      #expect(status == 1 && last.contains("Read-only file system") && last.contains(data(stand).path), "\(status) \(last)")
    }
    try await server.stop()
  }
}
