// Control messages, the lease, full streams: what the dashboard asks for and what the agent answers (AttemptFlow's table, carried out).

import Glibc
import Redis
import RedisTestSupport
import Shared
import Testing

@testable import Agent

@Suite struct ControlTests {
  @Test func anUnknownIdThatIsReconciledIsSaidToBeUnknownAndMayStillBeSent() async throws {
    let all = try await Surroundings()
    let envelope = try await all.dashboard.envelope(TaskSpec(taskname: "true"))
    try await all.dashboard.control(.reconcile, [envelope.id])
    try await all.dashboard.untilSaid(.unknown, envelope.id)
    try await all.dashboard.send([envelope])
    #expect(try await all.dashboard.untilEnded(envelope.id).state == .succeeded)
  }

  /// Rule `tombSure`.
  @Test func anUnknownIdThatIsCancelledBecomesATombstoneAndIsNeverStarted() async throws {
    var all = try await Surroundings()
    let marker = all.marker("ran")
    let envelope = try await all.dashboard.envelope(TaskSpec(taskname: "echo x > \(marker)"))
    try await all.dashboard.control(.cancel, [envelope.id], cause: .expired)
    #expect(try await all.dashboard.untilEnded(envelope.id).state == .expired)
    #expect(await all.dashboard.said(envelope.id).last?.tombstone == true)
    try await all.dashboard.send([envelope])
    try await all.dashboard.untilEnded(try await all.dashboard.send("true"))
    try await all.killAgent()
    try await all.startAgent()
    try await all.dashboard.send([envelope])
    try await all.dashboard.untilEnded(try await all.dashboard.send("true"))
    #expect(!Files.exists(marker))
    #expect(try await all.dashboard.inbox().isEmpty)
  }

  @Test func aWaitingRunThatIsCancelledIsNeverStarted() async throws {
    let all = try await Surroundings(["task": ["concurrency": 1]])
    let gate = all.marker("gate")
    let marker = all.marker("ran")
    let first = try await all.dashboard.send("while [ ! -e \(gate) ]; do sleep 0.02; done")
    try await all.dashboard.untilSaid(.running, first)
    let second = try await all.dashboard.send("echo x > \(marker)")
    try await all.dashboard.untilSaid(.taken, second)
    try await all.dashboard.control(.cancel, [second], cause: .cancelled)
    #expect(try await all.dashboard.untilEnded(second).state == .cancelled)
    try Files.writeAtomically([], to: gate)
    try await all.dashboard.untilEnded(first)
    try await all.dashboard.untilEnded(try await all.dashboard.send("true"))
    #expect(!Files.exists(marker))
  }

  @Test func aRunningRunThatIsCancelledIsKilledWithItsTree() async throws {
    let all = try await Surroundings()
    let id = try await all.dashboard.send("sleep 600 & trap '' TERM; echo up; while :; do sleep 0.1; done")
    try await all.dashboard.until("it is deaf") { $0.text(of: id) == "up\n" }
    try await all.dashboard.control(.cancel, [id], cause: .cancelled, grace: 0.2)
    let verdict = try await all.dashboard.untilEnded(id)
    #expect(verdict.state == .killed)
    #expect(verdict.signal == "KILL")
    #expect(verdict.left == 0)
  }

  @Test func anAdoptedRunIsKilledToo() async throws {
    var all = try await Surroundings()
    let id = try await all.dashboard.send("exec sleep 600")
    try await all.dashboard.untilSaid(.running, id)
    try await all.killAgent()
    try await all.startAgent()
    try await all.dashboard.control(.cancel, [id], cause: .cancelled)
    #expect(try await all.dashboard.untilEnded(id).state == .killed)
  }

  /// Rule `named`.
  @Test func aMessageForAnotherIncarnationDoesNothing() async throws {
    let all = try await Surroundings()
    let id = try await all.dashboard.send("sleep 1; exit 8")
    try await all.dashboard.untilSaid(.running, id)
    let present = try await all.dashboard.address()
    let other = AttemptID(task: all.dashboard.ids.next())
    try await all.dashboard.control(.cancel, [id, other], to: AgentAddress(journal: present.journal, incarnation: .random()))
    try await all.dashboard.control(.cancel, [id, other], to: AgentAddress(journal: .random(), incarnation: present.incarnation))
    #expect(try await all.dashboard.untilEnded(id).exitCode == 8)
    #expect(await all.dashboard.said(other).isEmpty)
  }

  /// Rule `answer`.
  @Test func anEndThatWasAcknowledgedIsSaidAgainWithItsOutputWhenAsked() async throws {
    var all = try await Surroundings()
    let id = try await all.dashboard.send("echo kept; exit 12")
    try await all.dashboard.untilEnded(id)
    let disk = all.disk
    let dashboard = all.dashboard
    try await eventually("it is acknowledged") {
      try await dashboard.collect()
      return try await disk.status()?["unacknowledged"] == "0"
    }
    let count = await all.dashboard.said(id).count
    try await all.dashboard.control(.reconcile, [id])
    try await all.dashboard.until("it is said again") { $0.said(id).count > count }
    #expect(await all.dashboard.verdict(id)?.exitCode == 12)
    // A new process knows it from the file.
    try await all.killAgent()
    try await all.startAgent()
    let again = await all.dashboard.said(id).count
    try await all.dashboard.control(.reconcile, [id])
    try await all.dashboard.until("the next process says it too") { $0.said(id).count > again }
    #expect(await all.dashboard.verdict(id)?.exitCode == 12)
  }

  @Test func whatIsNotAcknowledgedIsSaidAgainByTheNextIncarnation() async throws {
    var all = try await Surroundings()
    await all.dashboard.acknowledge(false)
    let id = try await all.dashboard.send("echo once; exit 2")
    try await all.dashboard.untilEnded(id)
    let first = try #require(await all.dashboard.batches.last?.from.incarnation)
    try await all.killAgent()
    try await all.startAgent()
    try await all.dashboard.until("the new one says it again") { dashboard in
      dashboard.batches.contains {
        $0.from.incarnation != first && $0.events.contains { $0.attempt == id.description && $0.kind == .ended }
      }
    }
    let fresh = try #require(await all.dashboard.batches.first { $0.from.incarnation != first })
    #expect(fresh.first == 1)
    #expect(fresh.events.first?.kind == .hello)
  }

  @Test func aFullOutputStreamHoldsTheShippingAndNothingIsDropped() async throws {
    let all = try await Surroundings()
    await all.dashboard.acknowledge(false)
    let connection = all.dashboard.connection
    let stream = Keys.output(Keys.shard(all.dashboard.agent))
    for _ in 0..<BusLimits.outputStreamLength { _ = try await connection.send(RedisCommand("XADD", stream, "*", "x", "y")) }
    let id = try await all.dashboard.send("seq 1 300000")
    // The verdict is not behind the output.
    try await all.dashboard.untilEnded(id)
    #expect(await all.dashboard.output(of: id).isEmpty)
    _ = try await connection.send(RedisCommand("DEL", stream))
    await all.dashboard.acknowledge(true)
    let kept = try Files.read(all.log(id), limit: 1 << 24)
    try await all.dashboard.until("all of it arrives") { $0.output(of: id).count == kept.count }
    #expect(await all.dashboard.output(of: id) == kept)
    #expect(await all.dashboard.gaps == 0)
  }

  @Test func aFullVerdictStreamHoldsTheReportsAndNothingIsDropped() async throws {
    let all = try await Surroundings()
    let connection = all.dashboard.connection
    let stream = Keys.verdicts(Keys.shard(all.dashboard.agent))
    let fill = (0..<BusLimits.verdictStreamLength).map { _ in RedisCommand("XADD", stream, "*", "x", "y") }
    _ = try await connection.pipeline(fill)
    let marker = all.marker("ran")
    let id = try await all.dashboard.send("echo x > \(marker)")
    try await eventually("it ran") { Files.exists(marker) }
    _ = try await connection.send(RedisCommand("DEL", stream))
    #expect(try await all.dashboard.untilEnded(id).state == .succeeded)
    #expect(await all.dashboard.events.first?.kind == .hello)
  }

  @Test func anotherAgentOfTheSameNameIsRefusedAndToldWhoHoldsTheLease() async throws {
    let all = try await Surroundings()
    let other = try AgentOnDisk(redisPort: all.redis.port)
    let refused = try await other.command("run")
    #expect(refused.code == 1)
    #expect(refused.errors.contains("process \(all.agent.pid)"), "\(refused.errors)")
    #expect(refused.errors.contains("holds the lease"))
    #expect(try await all.dashboard.untilEnded(try await all.dashboard.send("true")).state == .succeeded)
  }

  /// Rule `lease`.
  @Test func aLeaseThatIsTakenAwayStopsTheStarting() async throws {
    let all = try await Surroundings()
    let stranger = "\(AgentAddress(journal: .random(), incarnation: .random())) {}"
    _ = try await all.dashboard.connection.send(RedisCommand("SET", Keys.lease(all.dashboard.agent), stranger))
    let marker = all.marker("ran")
    let own = try #require(try journalIdentity(all.disk))
    let envelope = try await all.dashboard.envelope(TaskSpec(taskname: "echo x > \(marker)"), journal: own)
    try await all.dashboard.send([envelope])
    let disk = all.disk
    try await eventually("the agent says that it has no lease") { try await disk.status()?["lease"] != "held" }
    #expect(!Files.exists(marker))
    _ = try await all.dashboard.connection.send(RedisCommand("DEL", Keys.lease(all.dashboard.agent)))
    #expect(try await all.dashboard.untilEnded(envelope.id).state == .succeeded)
  }

  /// Rule `lease`: what was confirmed may be started while Redis is away, but not by one that was told before that the lease is another's.
  @Test func anAgentThatIsToldOnAReconnectThatItsLeaseIsAnothersStartsNothingOnceItIsCutOff() async throws {
    let all = try await Surroundings(["task": ["concurrency": 1]])
    let (dashboard, disk) = (all.dashboard, all.disk)
    let (gate, marker) = (all.marker("gate"), all.marker("ran"))
    let first = try await dashboard.send("while [ ! -e \(gate) ]; do sleep 0.02; done")
    try await dashboard.untilSaid(.running, first)
    let second = try await dashboard.send("echo x > \(marker)")
    try await dashboard.untilSaid(.taken, second)
    let stranger = "\(AgentAddress(journal: .random(), incarnation: .random())) {}"
    _ = try await dashboard.connection.send(RedisCommand("SET", Keys.lease(dashboard.agent), stranger))
    _ = try await dashboard.connection.send(RedisCommand("CLIENT", "KILL", "TYPE", "normal"))
    try await eventually("it says whose the lease is") {
      try await disk.status()?["lease"]?.contains("held by another agent") == true
    }
    try await all.redis.kill()
    try await eventually("it is cut off") { try await disk.status()?["redis"]?.hasSuffix("connected") == false }
    try Files.writeAtomically([], to: gate)
    try await eventually("the first one has ended, and its end is journaled") {
      let status = try await disk.status()
      return status?["running"] == "0 of 1" && status?["unacknowledged"] == "1"
    }
    #expect(!Files.exists(marker))
    #expect(try await disk.status()?["waiting"] == "1")
  }

  /// It comes, and comes back, while Redis has no room: it hears and is there all the same, and what it could not write is written later.
  @Test func anAgentThatRegistersWhileRedisIsFullHearsAndIsKnownOnceThereIsRoom() async throws {
    var all = try await Surroundings(["tags": "web"])
    let (dashboard, disk, connection) = (all.dashboard, all.disk, all.dashboard.connection)
    let (first, second) = (try await dashboard.send("exec sleep 600"), try await dashboard.send("exec sleep 600"))
    for id in [first, second] { try await dashboard.untilSaid(.running, id) }
    try await all.killAgent()
    _ = try await connection.send(RedisCommand("CONFIG", "SET", "maxmemory", 1))
    // As if it had come back empty before it was full.
    _ = try await connection.send(RedisCommand("DEL", "web", Keys.info(dashboard.agent), Keys.agents))
    try await all.startAgent()
    try await eventually("it is registered") { try await disk.status()?["lease"] == "held" }
    try await dashboard.control(.cancel, [first], cause: .cancelled)
    try await eventually("it has heard, and the first one is ended") { try await disk.status()?["running"] == "1 of 4" }
    _ = try await connection.send(RedisCommand("CLIENT", "KILL", "TYPE", "normal"))
    try await dashboard.control(.cancel, [second], cause: .cancelled)
    try await eventually("also on its next connection") { try await disk.status()?["running"] == "0 of 4" }
    try await eventually("it is said to be there") {
      try await !connection.send(RedisCommand("ZSCORE", Keys.agents, "web-1")).isNull
    }
    #expect(try await connection.send(RedisCommand("EXISTS", Keys.info(dashboard.agent))).integer == 0)
    _ = try await connection.send(RedisCommand("CONFIG", "SET", "maxmemory", 0))
    for id in [first, second] { #expect(try await dashboard.untilEnded(id).state == .killed) }
    try await eventually("it has written what there was no room for") {
      let isMember = try await connection.send(RedisCommand("SISMEMBER", "web", "web-1")).integer
      return try await connection.send(RedisCommand("EXISTS", Keys.info(dashboard.agent))).integer == 1 && isMember == 1
    }
  }

  @Test func aUuidThatIsAProjectAndAProjectThatIsAnAgentAreRefused() async throws {
    let all = try await Surroundings(["tags": "web"])
    let asProject = try AgentOnDisk(redisPort: all.redis.port, uuid: "web")
    let first = try await asProject.command("run")
    #expect(first.code == 1)
    #expect(first.errors.contains("is a project's name"))
    let asAgent = try AgentOnDisk(redisPort: all.redis.port, uuid: "web-2", ["tags": "web-1"])
    let second = try await asAgent.command("run")
    #expect(second.code == 1)
    #expect(second.errors.contains("is an agent's uuid"))
  }

  @Test func aProjectThatIsNoLongerConfiguredIsLeft() async throws {
    let all = try await Surroundings(["tags": "old,both"])
    let connection = all.dashboard.connection
    try await eventually("it has joined") { try await connection.send(RedisCommand("SISMEMBER", "old", "web-1")).integer == 1 }
    #expect(try await all.disk.command("stop").code == 0)
    let text = all.contents(all.disk.settingsFile).replacing("old,both", with: "both,new")
    try Files.writeAtomically(Array(text.utf8), to: all.disk.settingsFile)
    let again = try all.disk.spawn(["run", "-f", all.disk.settingsFile])
    try await eventually("it has joined and left; \(again.errorText)") {
      let old = try await connection.send(RedisCommand("SISMEMBER", "old", "web-1")).integer
      let new = try await connection.send(RedisCommand("SISMEMBER", "new", "web-1")).integer
      return old == 0 && new == 1
    }
    #expect(try await connection.send(RedisCommand("SISMEMBER", "both", "web-1")).integer == 1)
  }

  @Test func aDrainWaitsForItsRunsAndStartsNothingMore() async throws {
    let all = try await Surroundings(["task": ["concurrency": 1]])
    let gate = all.marker("gate")
    let marker = all.marker("ran")
    let first = try await all.dashboard.send("while [ ! -e \(gate) ]; do sleep 0.02; done; exit 3")
    try await all.dashboard.untilSaid(.running, first)
    let second = try await all.dashboard.send("echo x > \(marker)")
    try await all.dashboard.untilSaid(.taken, second)
    _ = killProcess(all.agent.pid, SIGUSR1)
    let disk = all.disk
    try await eventually("it drains") { try await disk.status()?["stopping"] != nil }
    try Files.writeAtomically([], to: gate)
    #expect(try await all.disk.end(of: all.agent).code == 0)
    #expect(try await all.dashboard.untilEnded(first).exitCode == 3)
    #expect(!Files.exists(marker))
    #expect(runners(of: all.disk).isEmpty)
    var next = all
    try await next.startAgent()
    #expect(try await all.dashboard.untilEnded(second).state == .succeeded)
  }

  @Test func aKillEndsTheRunsAndReportsTheirVerdicts() async throws {
    let all = try await Surroundings()
    let id = try await all.dashboard.send("setsid sleep 600 & sleep 600 & (setsid sleep 600 &) ; sleep 600")
    try await all.dashboard.untilSaid(.running, id)
    _ = killProcess(all.agent.pid, SIGUSR2)
    #expect(try await all.disk.end(of: all.agent).code == 0)
    let verdict = try await all.dashboard.untilEnded(id)
    #expect(verdict.state == .killed)
    #expect(verdict.left == 0)
    let disk = all.disk
    try await eventually("no runner is left") { runners(of: disk).isEmpty }
  }

  @Test func anIdleAgentHasOneConnection() async throws {
    let all = try await Surroundings()
    let reply = try await all.dashboard.connection.send(RedisCommand("CLIENT", "LIST"))
    let names = reply.string?.split(separator: "\n").filter { $0.contains("name=muster-agent-web-1") } ?? []
    #expect(names.count <= 2)
    #expect(names.contains { $0.contains("-control") })
  }
}

private func journalIdentity(_ disk: AgentOnDisk) throws -> JournalID? {
  try journalRecords(disk).compactMap { if case .identity(let id) = $0 { id } else { nil } }.last
}
