// What needs no process: tables.

import Glibc
import Redis
import Shared
import Testing

@testable import Agent

@Suite struct PureShellTests {
  @Test(arguments: [
    ("PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian GNU/Linux\"\n", "Debian GNU/Linux 12 (bookworm)"),
    ("NAME=x\nPRETTY_NAME='Void'\n", "Void"),
    ("PRETTY_NAME=Plain", "Plain"),
    (#"PRETTY_NAME="a \"b\" \\ c""#, #"a "b" \ c"#),
    ("NAME=x\n", nil),
    ("PRETTY_NAME=\"\"\n", nil),
    ("MY_PRETTY_NAME=x\n", nil),
  ])
  func theSystemsNameIsReadFromOSRelease(text: String, name: String?) {
    #expect(HostFacts.prettyName(inRelease: text) == name)
  }

  @Test func theHostSaysWhoItIs() {
    let facts = HostFacts.read()
    #expect(!facts.hostname.isEmpty && !facts.os.isEmpty)
    #expect(["x86_64", "aarch64"].contains(facts.arch))
    #expect(HostFacts.load1() >= 0)
  }

  @Test(arguments: [
    RedisConfiguration.Address.tcp(host: "127.0.0.1", port: 6379), .tcp(host: "localhost", port: 6379),
    .tcp(host: "::1", port: 6379),
    .unix(path: "/run/redis.sock"), .tcp(host: "name.invalid", port: 6379),
  ])
  func theOwnAddressIsOneThatOthersCouldReach(redis: RedisConfiguration.Address) async {
    let address = await OwnAddress.find(reaching: redis)
    #expect(!OwnAddress.isLinkLocal(address))
    // Loopback only where the host has nothing else: then for all of these alike.
    #expect(address == OwnAddress.findBlocking(reaching: .unix(path: "/")))
    #expect(!OwnAddress.isLoopback(address) || address == "127.0.0.1")
  }

  @Test func readinessComesInAnyPieces() {
    var bytes = Array("waiting no route\nwaiting refused\nready\n".utf8)
    #expect(ReadinessMessage.take(from: &bytes, atEnd: false) == [.waiting("no route"), .waiting("refused"), .ready])
    #expect(bytes.isEmpty)

    bytes = Array("waiti".utf8)
    #expect(ReadinessMessage.take(from: &bytes, atEnd: false).isEmpty)
    bytes += Array("ng x\nfailed first line\nsecond".utf8)
    #expect(ReadinessMessage.take(from: &bytes, atEnd: false) == [.waiting("x")])
    #expect(ReadinessMessage.take(from: &bytes, atEnd: true) == [.failed("first line\nsecond")])

    for message in [ReadinessMessage.waiting("a\nb"), .ready, .failed("x\ny")] {
      var bytes = Array(message.text.utf8)
      let taken = ReadinessMessage.take(from: &bytes, atEnd: true)
      #expect(taken == [message == .waiting("a\nb") ? .waiting("a b") : message])
    }
  }

  @Test func everySignalMeansOneEnd() {
    for mode in StopMode.allCases { #expect(StopMode(signal: mode.signal) == mode) }
    #expect(StopMode(signal: SIGINT) == .leave)
    #expect(StopMode(signal: SIGHUP) == .leave)
    #expect(StopMode(signal: SIGUSR1) == .drain)
    #expect(StopMode(signal: SIGUSR2) == .kill)
    #expect(StopMode(signal: SIGCHLD) == nil)
  }

  @Test func aStatusIsReadByAnotherVersion() throws {
    let newer = #"""
      {"uuid":"a","pid":1,"version":"9","startedAt":"2026-01-01T00:00:00.000Z","projects":[],"redis":"r","redisFault":null,
      "leaseFault":"none yet","running":1,"concurrency":4,"waiting":2,"unacknowledged":3,"fault":"no","http":null,"stopping":"drain",
      "statePath":"/s","logFile":"/l","somethingNew":true}
      """#
    let status = try JSONCoder.decode(AgentStatus.self, from: Array(newer.utf8))
    #expect(
      status.lines == [
        "uuid: a", "pid: 1", "version: 9", "started: 2026-01-01T00:00:00.000Z", "projects: -", "redis: r, connected",
        "lease: none yet", "running: 1 of 4", "waiting: 2", "unacknowledged: 3", "health: death (no)", "http: -", "state: /s",
        "log: /l", "stopping: drain",
      ])
  }
}
