// Runners that do not do what they were told, runners that are killed, and what they leave behind on the host.

import Glibc
import Redis
import RedisTestSupport
import Runner
import Shared
import Testing

@testable import Agent

@Suite struct BackstopTests {
  private let impatient = ["MUSTER_PRETEND_PATIENCE": "1"]

  /// A shell line that writes its own process id and its runner's into the file, and tells when it has.
  private func tellPids(_ file: String) -> String { "echo $$ $PPID > \(file).new && mv \(file).new \(file)" }

  private func isGone(_ pid: pid_t) -> Bool { ProcessIdentity(of: pid)?.isAlive != true }

  @Test func aCommandThatStopsItsRunnerIsKilledAllTheSame() async throws {
    let all = try await Surroundings()
    let file = all.marker("pids")
    let id = try await all.dashboard.send("\(tellPids(file)); kill -STOP $PPID; sleep 600")
    let (scene, path) = (all, file)
    try await eventually("it has stopped its runner") { scene.pids(path).count == 2 }
    try await all.dashboard.control(.cancel, [id], cause: .cancelled)
    let verdict = try await all.dashboard.untilEnded(id)
    #expect(verdict.state == .killed)
    #expect(verdict.left == 0)
  }

  @Test func aCommandThatStopsItsRunnerKeepsToItsTimeLimit() async throws {
    let all = try await Surroundings()
    let id = try await all.dashboard.send("kill -STOP $PPID; sleep 600", timeout: 0.5)
    let verdict = try await all.dashboard.untilEnded(id)
    #expect(verdict.state == .timedOut)
    #expect(verdict.left == 0)
  }

  @Test func aRunnerThatIsStoppedAgainAndAgainIsEndedAndItsRunIsLostWithEverythingItStarted() async throws {
    let all = try await Surroundings(["task": ["grace": 1]], environment: impatient)
    let file = all.marker("pids")
    // Whatever wakes the runner, it is stopped again at once.
    let id = try await all.dashboard.send(
      "trap '' TERM; \(tellPids(file)); while kill -STOP $PPID; do :; done & wait; sleep 600", timeout: 2)
    let verdict = try await all.dashboard.untilEnded(id, within: .seconds(40))
    let found = all.pids(file)
    #expect(verdict.state == .lost)
    #expect(verdict.note?.contains("did not end it in time") == true, "\(verdict.note ?? "")")
    #expect(verdict.signalled >= 2)
    #expect(verdict.left == 0)
    #expect(found.count == 2 && found.allSatisfy { isGone($0) })
    // The slot serves again.
    for _ in 0..<4 { #expect(try await all.dashboard.untilEnded(try await all.dashboard.send("exit 3")).exitCode == 3) }
  }

  @Test func stopWithKillEndsACommandWhoseRunnerWasStopped() async throws {
    let all = try await Surroundings()
    let file = all.marker("pids")
    let id = try await all.dashboard.send("\(tellPids(file)); kill -STOP $PPID; sleep 600")
    let (scene, path) = (all, file)
    try await eventually("it has stopped its runner") { scene.pids(path).count == 2 }
    let stop = try await all.disk.command("stop", "--kill")
    #expect(stop.code == 0, "\(stop.errors)")
    let found = all.pids(file)
    #expect(found.count == 2 && found.allSatisfy { isGone($0) })
    #expect(try await all.dashboard.untilEnded(id).state == .killed)
    #expect(runners(of: all.disk).isEmpty)
  }

  @Test func stopWithKillSaysWhatItCouldNotEnd() async throws {
    let all = try await Surroundings()
    let file = all.marker("pids")
    let id = try await all.dashboard.send("\(tellPids(file)); exec sleep 600")
    try await all.dashboard.untilSaid(.running, id)
    // An agent that is killed while it is to end its commands leaves them; the command that waits for it says so.
    _ = killProcess(all.agent.pid, SIGSTOP)
    let stop = try all.disk.spawn(["stop", "--kill", "-f", all.disk.settingsFile])
    let (agent, disk) = (all.agent.pid, all.disk)
    try await eventually("stop has signalled it") {
      let status = String(decoding: try Files.read("/proc/\(agent)/status"), as: UTF8.self)
      let pending = status.split(separator: "\n").first { $0.hasPrefix("ShdPnd:") }?.split(separator: "\t").last
      return pending.flatMap { UInt64($0, radix: 16) }.map { $0 >> UInt64(SIGUSR2 - 1) & 1 == 1 } ?? false
    }
    _ = killProcess(agent)
    let ended = try await disk.end(of: stop)
    #expect(ended.code == 1)
    let runner = try #require(all.pids(file).last)
    #expect(ended.errors.contains("run web-1-\(id.task): its runner, process \(runner), is still at work"), "\(ended.errors)")
    for pid in all.pids(file) { _ = killProcess(pid) }
  }

  @Test func aRunnerThatIsKilledAloneLosesItsRunAndWhatItLeftBehindIsEndedAndCounted() async throws {
    let all = try await Surroundings()
    let file = all.marker("pids")
    let away = all.marker("away")
    let id = try await all.dashboard.send(
      "setsid sh -c 'trap \"\" TERM; echo $$ > \(away).new; mv \(away).new \(away); while :; do sleep 0.05; done' & \(tellPids(file)); sleep 600"
    )
    let (scene, path) = (all, file)
    try await eventually("it runs") { scene.pids(path).count == 2 && scene.pids(away).count == 1 }
    let found = all.pids(file) + all.pids(away)
    try await all.dashboard.untilSaid(.running, id)
    // Less patience than the agent's ten seconds for what ignores TERM: a kill hastens the clearing, too.
    _ = killProcess(found[1])
    try await all.dashboard.control(.cancel, [id], cause: .cancelled, grace: 0.3)
    let verdict = try await all.dashboard.untilEnded(id)
    #expect(verdict.state == .lost)
    #expect(verdict.signalled >= 3)
    #expect(verdict.left == 0)
    #expect(verdict.note?.contains("that it left behind were ended") == true, "\(verdict.note ?? "")")
    #expect(found.allSatisfy { isGone($0) })
  }

  @Test func whatAKilledAgentAndItsKilledRunnerLeftBehindIsEndedByTheNextAgent() async throws {
    var all = try await Surroundings()
    let file = all.marker("pids")
    let innocent = try all.disk.spawn(["600"], environment: ["MUSTER_RUN": "web-1-another"], program: "/usr/bin/sleep")
    // Nothing of the environment is left to tell it by, and it is nobody's child: only the control group, or the leader's children, tell.
    let id = try await all.dashboard.send("env -i sleep 600 & \(tellPids(file)); sleep 600")
    let (scene, path) = (all, file)
    try await eventually("it runs") { scene.pids(path).count == 2 }
    try await all.dashboard.untilSaid(.running, id)
    let found = all.pids(file)
    try await all.killAgent()
    _ = killProcess(found[1])
    #expect(!isGone(found[0]))
    try await all.startAgent()
    let verdict = try await all.dashboard.untilEnded(id)
    #expect(verdict.state == .lost)
    #expect(verdict.signalled == 3)
    #expect(verdict.left == 0)
    #expect(isGone(found[0]))
    #expect(!isGone(innocent.pid))
  }

  @Test func whatACommandLeavesBehindOnPurposeIsNeverTakenForALeftover() async throws {
    var all = try await Surroundings()
    let file = all.marker("pids")
    let first = try await all.dashboard.send(
      "setsid sh -c '\(tellPids(file)); exec sleep 600' >/dev/null 2>&1 & sleep 0.2; while [ ! -e \(file) ]; do sleep 0.02; done")
    let verdict = try await all.dashboard.untilEnded(first)
    #expect(verdict.state == .succeeded && verdict.left == 1)
    let second = try await all.dashboard.send("exec sleep 600")
    try await all.dashboard.untilSaid(.running, second)
    try await all.killAgent()
    for pid in runners(of: all.disk) { _ = killProcess(pid) }
    try await all.startAgent()
    #expect(try await all.dashboard.untilEnded(second).state == .lost)
    let server = try #require(all.pids(file).first)
    #expect(!isGone(server))
    _ = killProcess(server)
  }

  @Test func anAdoptedRunIsKilledWithTheSignalAndTheGraceThatWereAskedFor() async throws {
    var all = try await Surroundings()
    let file = all.marker("tidied")
    let polite = try await all.dashboard.send("trap 'echo x > \(file); exit 9' USR1; echo up; while :; do sleep 0.02; done")
    let stubborn = try await all.dashboard.send("trap '' TERM; echo up; while :; do sleep 0.02; done")
    for id in [polite, stubborn] { try await all.dashboard.until("it is up") { $0.text(of: id) == "up\n" } }
    try await all.killAgent()
    try await all.startAgent()
    try await all.dashboard.control(.cancel, [polite], cause: .cancelled, signal: "USR1", grace: 60)
    let first = try await all.dashboard.untilEnded(polite)
    #expect(first.state == .killed && first.exitCode == 9)
    #expect(Files.exists(file))
    // A second one that is harder takes over from the first.
    try await all.dashboard.control(.cancel, [stubborn], cause: .cancelled, grace: 600)
    try await all.dashboard.control(.cancel, [stubborn], cause: .cancelled, signal: "KILL")
    let second = try await all.dashboard.untilEnded(stubborn)
    #expect(second.state == .killed && second.signal == "KILL")
    let folder = all.disk.state + "/runners"
    let disk = all.disk
    try await eventually("nothing is left in the folder of the runners") {
      runners(of: disk).isEmpty && (try? filesIn(folder).filter { $0.contains(".kill") }) == []
    }
  }

  @Test func aKillThatIsRepeatedDoesNotSignalAgainUnlessItIsHarder() async throws {
    let all = try await Surroundings()
    let file = all.marker("signals")
    let id = try await all.dashboard.send("trap 'echo term >> \(file)' TERM; echo up; while :; do sleep 0.02; done")
    try await all.dashboard.until("it is up") { $0.text(of: id) == "up\n" }
    for _ in 0..<5 { try await all.dashboard.control(.cancel, [id], cause: .cancelled, grace: 600) }
    try await eventually("it has heard it") { Files.exists(file) }
    try await all.dashboard.untilEnded(try await all.dashboard.send("true"))
    for _ in 0..<5 { try await all.dashboard.control(.cancel, [id], cause: .cancelled, grace: 600) }
    try await all.dashboard.untilEnded(try await all.dashboard.send("true"))
    #expect(all.contents(file) == "term\n")
    try await all.dashboard.control(.cancel, [id], cause: .cancelled, grace: 60)
    try await eventually("it has heard the harder one") { all.contents(file) == "term\nterm\n" }
    try await all.dashboard.control(.cancel, [id], cause: .cancelled, signal: "KILL")
    #expect(try await all.dashboard.untilEnded(id).signal == "KILL")
    #expect(all.contents(file) == "term\nterm\n")
  }

  @Test func aKillThatComesBetweenHandOffAndExecIsNotForgotten() async throws {
    let all = try await Surroundings(["task": ["concurrency": 1]])
    try await all.dashboard.untilEnded(try await all.dashboard.send("true"))
    let runner = try #require(runners(of: all.disk).first)
    _ = killProcess(runner, SIGSTOP)
    let id = try await all.dashboard.send("trap '' TERM; sleep 600 & setsid sleep 601 & wait; sleep 602")
    let disk = all.disk
    try await eventually("it was handed over") { try await disk.status()?["running"] == "1 of 1" }
    try await all.dashboard.control(.cancel, [id], cause: .cancelled, grace: 0.2)
    let verdict = try await all.dashboard.untilEnded(id)
    #expect(verdict.state == .killed && verdict.left == 0)
    #expect(runners(of: all.disk) == [runner], "it serves again")
  }

  @Test func aLeaderThatExitsWhileSomethingElseHoldsItsOutputHasItsVerdictAtOnceWithANote() async throws {
    let all = try await Surroundings()
    let file = all.marker("pids")
    let id = try await all.dashboard.send("sleep 600 & echo $! > \(file); exit 6")
    let verdict = try await all.dashboard.untilEnded(id)
    #expect(verdict.exitCode == 6 && verdict.left == 1 && verdict.signalled == 0)
    #expect(verdict.note == "something that it left behind still held its output when it ended")
    let left = try #require(all.pids(file).first)
    #expect(!isGone(left), "it was left on purpose")
    _ = killProcess(left)
  }

  @Test func aTimeLimitIsKeptWhileNoAgentIsThere() async throws {
    var all = try await Surroundings()
    let id = try await all.dashboard.send("sleep 600 & setsid sleep 601 & exec sleep 602", timeout: 3)
    try await all.dashboard.untilSaid(.running, id)
    try await all.killAgent()
    let disk = all.disk
    try await eventually("its runner has ended it") { runners(of: disk).isEmpty }
    try await all.startAgent()
    let verdict = try await all.dashboard.untilEnded(id)
    #expect(verdict.state == .timedOut)
    #expect(verdict.signalled == 3)
    #expect(verdict.left == 0)
  }
}

extension Surroundings {
  /// Process ids that a command wrote into a file.
  func pids(_ file: String) -> [pid_t] { contents(file).split(whereSeparator: \.isWhitespace).compactMap { pid_t($0) } }
}

func filesIn(_ path: String) throws -> [String] {
  guard let folder = opendir(path) else { throw TestFailure("\(path): errno \(errno)") }
  defer { closedir(folder) }
  var names: [String] = []
  while let entry = readdir(folder) {
    names.append(withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) })
  }
  return names
}
