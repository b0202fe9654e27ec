// Somebody sets a wall clock, by hours and by more than a year, on each side: nothing expires, times out, becomes unknown or is lost because of
// it, and what is to expire does so in real time (docs/decisions/0014).
import Foundation
import RedisTestSupport
import Testing

@Suite struct ClockTests {
  enum Side: String, CaseIterable { case agent, dashboard, redis }

  /// What one program's clock does while runs are under way.
  private func play(_ side: Side, _ clock: FakeClock, _ stand: Stand, _ server: RedisServerProcess) async throws {
    let environment = side == .agent ? clock.environment : [:]
    let settings = ["task": ["concurrency": 1]]
    try await stand.startAgent("c1", settings: settings, environment: environment)
    // It goes on until the clock has been set three times, however long this machine takes for that.
    let gate = stand.folder.appendingPathComponent("gate")
    let long = try await stand.task("c1", "while [ ! -e \(gate.path) ]; do sleep 0.1; done; echo done", ["timeout": 120])
    let waiting = try await stand.task("c1", "echo waited", ["expires": 3600])
    let posted = ContinuousClock.now
    let expiring = try await stand.task("c1", "echo too late", ["expires": 2])
    var seen: Set<String> = []
    var expiredAfter: Duration?
    var jumps = ["+5h", "-5h", "+9h"]
    _ = try await eventually("both have ended", within: 60) {
      let at = posted.duration(to: .now)
      if let jump = jumps.first, at > .milliseconds(500 + 1500 * (3 - jumps.count)) {
        try clock.set(jump)
        jumps.removeFirst()
      }
      if jumps.isEmpty, expiredAfter != nil, at > .seconds(5) {
        #expect(FileManager.default.createFile(atPath: gate.path, contents: nil))
      }
      let states = try await [long, waiting].mapAsync { try await stand.get("/v1/runs/\($0)")["state"] as? String ?? "" }
      seen.formUnion(states)
      if expiredAfter == nil, try await stand.get("/v1/runs/\(expiring)")["state"] as? String == "expired" {
        expiredAfter = posted.duration(to: .now)
      }
      if try await stand.get("/v1/agents/c1")["online"] as? Bool != true { seen.insert("offline") }
      return states.allSatisfy { $0 == "succeeded" } && expiredAfter != nil ? true : nil
    }
    #expect(seen.isSubset(of: ["queued", "sent", "running", "succeeded"]), "\(side): \(seen)")
    let late = try #require(expiredAfter)
    print("MEASURED clocks, \(side): what was to expire after 2 s did so after \(late)")
    #expect(late >= .seconds(2), "\(side): expired after \(late)")

    // More than everybody's memory, over a restart of the program whose clock it is.
    let over = try await stand.task("c1", "sleep 2; echo over", ["expires": 60])
    let behind = try await stand.task("c1", "echo behind", ["expires": 60])
    _ = try await eventually("it runs") {
      try await stand.get("/v1/runs/\(over)")["state"] as? String == "running" ? true : nil
    }
    try clock.set("+400d")
    switch side {
    case .agent:
      try await stand.agent("c1").end(SIGKILL)
      try await stand.startAgent("c1", settings: settings, environment: environment)
    case .dashboard:
      try await stand.killDashboard()
      try await stand.restartDashboard()
    case .redis:
      try await server.kill()
      try await server.restart()
    }
    _ = try await eventually("libfaketime works on the side of \(side)") {
      try await daysAhead(side, stand) == 400 ? true : nil
    }
    try await stand.expectEnded(over, "succeeded")
    try await stand.expectEnded(behind, "succeeded")
    try clock.set("-400d")
    #expect(try await stand.verdict(try await stand.task("c1", "echo back"))["state"] as? String == "succeeded")
    for auuid in [long, waiting, over, behind] {
      #expect(try await stand.get("/v1/runs/\(auuid)")["state"] as? String == "succeeded", "kept")
    }
  }

  /// How far that side's clock is from ours: a test of libfaketime, without which the others would say nothing.
  private func daysAhead(_ side: Side, _ stand: Stand) async throws -> Int {
    let shown: Date?
    switch side {
    case .agent: shown = try await stand.get("/v1/agents/c1").json.date("startedAt")
    case .dashboard:
      let fresh = try await stand.task("c1", "true")
      shown = try await stand.get("/v1/runs/\(fresh)").json.date("queuedAt")
    case .redis:
      let seconds = try await stand.redisCLI("time").split(separator: "\n").first.flatMap { Double($0) }
      shown = seconds.map { Date(timeIntervalSince1970: $0) }
    }
    return Int((try #require(shown).timeIntervalSinceNow / 86_400).rounded())
  }

  @Test func aWallClockThatIsSetEndsNothing() async throws {
    // They mostly wait.
    try await withThrowingTaskGroup(of: Void.self) { group in
      for side in Side.allCases { group.addTask { try await play(side) } }
      try await group.waitForAll()
    }
  }

  private func play(_ side: Side) async throws {
    let clock = try FakeClock()
    let server = try await RedisServerProcess.start(environment: side == .redis ? clock.redisEnvironment : [:])
    try await withStand(
      redis: "127.0.0.1:\(server.port)", environment: side == .dashboard ? clock.environment : [:]
    ) { (stand: Stand) async throws -> Void in
      try await play(side, clock, stand, server)
    }
    try await server.stop()
  }

  /// Rule `oneClock`.
  @Test func theClockIsSetWhileTheDashboardIsDownAndDeadlinesStayWhatTheyWere() async throws {
    let clock = try FakeClock()
    let server = try await RedisServerProcess.start()
    try await withStand(redis: "127.0.0.1:\(server.port)", environment: clock.environment) {
      (stand: Stand) async throws -> Void in
      let agent = try await stand.startAgent("d1")
      // Nobody takes them: they wait in the store.
      try await agent.end(SIGKILL)
      let posted = ContinuousClock.now
      let soon = try await stand.task("d1", "true", ["expires": 20])
      let later = try await stand.task("d1", "true", ["expires": 600])
      try await stand.killDashboard()
      try clock.set("+5h")
      try await stand.restartDashboard()
      let state = try await stand.get("/v1/runs/\(soon)")["state"] as? String
      // Says nothing where that took longer than it may wait.
      if posted.duration(to: .now) < .seconds(20) { #expect(state != "expired") }
      try await Task.sleep(for: .seconds(21) - posted.duration(to: .now))
      try await stand.startAgent("d1")
      try await stand.expectEnded(soon, "expired")
      try await stand.expectEnded(later, "succeeded")
    }
    try await server.stop()
  }
}

extension Stand {
  func expectEnded(_ auuid: String, _ state: String, within seconds: Double = 40) async throws {
    let run = try await verdict(auuid, within: seconds)
    #expect(run["state"] as? String == state, "\(run)")
  }
}

extension [String: Any] {
  func date(_ field: String) -> Date? {
    (self[field] as? String).flatMap { try? Date($0, strategy: Date.ISO8601FormatStyle(includingFractionalSeconds: true)) }
  }
}

extension Sequence {
  func mapAsync<T>(_ body: (Element) async throws -> T) async rethrows -> [T] {
    var mapped: [T] = []
    for element in self { mapped.append(try await body(element)) }
    return mapped
  }
}
