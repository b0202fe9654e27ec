// The parts without I/O, by table.
import Testing

@testable import Redis

@Suite struct PureTests {
  @Test(arguments: [
    ("", "da39a3ee5e6b4b0d3255bfef95601890afd80709"), ("abc", "a9993e364706816aba3e25717850c26c9cd0d89d"),
    ("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", "84983e441c3bd26ebaae4aa1f95129e5e54670f1"),
    (String(repeating: "a", count: 1_000), "291e9a6c66994949b57ba5e650361e98fc36b1ba"),
  ])
  func theDigestIsSHA1(text: String, digest: String) {
    #expect(SHA1.hex(text.utf8) == digest)
  }

  @Test func theFirstRetryIsImmediateAndTheOthersDoubleUpToTheCap() {
    let backoff = ReconnectBackoff(base: .milliseconds(50), cap: .milliseconds(300))
    let limits = (0...5).map { backoff.limit(afterFailures: $0) }
    #expect(limits == [0, 50, 100, 200, 300, 300].map { .milliseconds($0) })
    let crowd = ReconnectBackoff(first: .milliseconds(500), base: .milliseconds(100), cap: .seconds(4))
    #expect(crowd.limit(afterFailures: 0) == .milliseconds(500))
    // Evenly from nothing up to the limit, also for the first attempt after a good connection: nobody comes back in step.
    let tenths = Dictionary(grouping: (0..<10_000).map { _ in crowd.delay(afterFailures: 0).wholeNanoseconds / 50_000_000 }) {
      $0
    }
    #expect((0..<10).allSatisfy { (800...1200).contains(tenths[$0]?.count ?? 0) })
    #expect(backoff.limit(afterFailures: 1_000_000) == .milliseconds(300))
    let delays = (0..<200).map { _ in backoff.delay(afterFailures: 4) }
    #expect(delays.allSatisfy { $0 >= .zero && $0 <= .milliseconds(300) })
    #expect(Set(delays.map(\.wholeNanoseconds)).count > 100)
  }

  @Test func waitsAreSpreadEvenlyOverTheWholeLimitSoThatNoTwoComeBackTogether() {
    let backoff = ReconnectBackoff(base: .milliseconds(50), cap: .seconds(4))
    var tenths = [Int](repeating: 0, count: 10)
    // As many as a large fleet has agents; their server has been away for long.
    for _ in 0..<10_000 {
      tenths[min(9, Int(backoff.delay(afterFailures: 20).wholeNanoseconds / 400_000_000))] += 1
    }
    // Each tenth gets its tenth: 1000, give or take seven standard deviations.
    #expect(tenths.allSatisfy { (790...1210).contains($0) }, "\(tenths)")
  }

  @Test func timesSaturateInsteadOfWrapping() {
    let now = MonotonicTime(nanoseconds: 5)
    #expect(now + .seconds(Int64.max) == MonotonicTime(nanoseconds: .max))
    #expect((now + .nanoseconds(1)).pollTimeout(from: now) == 1)
    #expect((now + .milliseconds(2)).pollTimeout(from: now) == 2)
    #expect(now.pollTimeout(from: now) == 0)
    #expect(MonotonicTime(nanoseconds: .max).pollTimeout(from: now) == .max)
  }

  @Test func commandsAreEncodedWithTheLengthsOfTheirBytes() {
    var command = RedisCommand("SET", "ключ", [0, 13, 10, 255] as [UInt8], -12, 0.5, Int64.min, Substring("ab"))
    command.append("NX")
    var bytes: [UInt8] = []
    command.encode(into: &bytes, withSource: false)
    let expected =
      Array("*8\r\n$3\r\nSET\r\n$8\r\nключ\r\n$4\r\n".utf8) + [0, 13, 10, 255]
      + Array("\r\n$3\r\n-12\r\n$3\r\n0.5\r\n$20\r\n-9223372036854775808\r\n$2\r\nab\r\n$2\r\nNX\r\n".utf8)
    #expect(bytes == expected)
  }

  @Test func thePasswordIsNeverPrinted() {
    let configuration = RedisConfiguration(username: "me", password: "hunter2")
    var dumped = ""
    dump(configuration, to: &dumped)
    #expect(!"\(configuration) \(String(reflecting: configuration)) \(dumped)".contains("hunter2"))
  }

  @Test(arguments: [
    (
      "ERR unknown command 'AUTH', with args beginning with: 'me' 'hunter2' ",
      "ERR unknown command (hidden)"
    ),
    ("ERR unknown command `AUTH`, with args beginning with: `hunter2`, ", "ERR unknown command (hidden)"),
    ("ERR bad line: AUTH me hunter2", "ERR (hidden)"), ("hunter2", "ERR (hidden)"),
    ("LOADING hunter2", "LOADING (hidden)"),
    (
      "ERR AUTH <password> called without any password configured for the default user.",
      "ERR AUTH <password> called without any password configured for the default user."
    ),
    ("WRONGPASS invalid username-password pair", "WRONGPASS invalid username-password pair"),
  ])
  func anAnswerToAUTHIsToldWithoutWhatItRepeats(message: String, told: String) {
    let greeting = Greeting(RedisConfiguration(username: "me", password: "hunter2"))
    let fault = greeting.fault(in: .error(RedisReplyError(message: message)), toCommand: 0)
    #expect(fault == .refused(RedisReplyError(message: told)))
  }

  @Test func aClosedMailboxShowsNothingMoreAndTakesNoCall() async {
    let mailbox = Mailbox()
    #expect(mailbox.finish(.closed).isEmpty)
    // What the owner still does with its last messages.
    mailbox.publish(.connecting, refusal: nil)
    mailbox.publish(.connected(epoch: 1), refusal: nil)
    #expect(mailbox.connection == .closed(.closed) && mailbox.epoch == 0)
    let outcomes = await withCheckedContinuation { continuation in
      let call = Submission(
        id: 1, commands: [RedisCommand("PING")], timeout: .seconds(1), deadline: .now + .seconds(1), patience: .seconds(1),
        isBlocking: false, continuation: continuation)
      // Taken, it would never be answered.
      let refusal = mailbox.submit(call)
      continuation.resume(returning: refusal.map { [.failure(.notSent($0))] } ?? [])
    }
    #expect(outcomes == [.failure(.notSent(.closed))])
  }

  @Test(arguments: [
    ("LOADING Redis is loading the dataset in memory", true), ("NOAUTH Authentication required.", true),
    ("NOPERM no ping", false),
    ("MISCONF disk full", false), ("BUSY script", false), ("ERR max number of clients reached", true),
    ("DENIED protected mode", true),
  ])
  func onlyErrorsAfterWhichNothingWorksEndTheGreeting(message: String, ends: Bool) {
    let greeting = Greeting(RedisConfiguration(database: 2, clientName: "me"))
    #expect(greeting.commands.map(\.name) == ["SELECT", "CLIENT", "PING"])
    #expect((greeting.fault(in: .error(RedisReplyError(message: message)), toCommand: 2) != nil) == ends)
    #expect(greeting.fault(in: .error(RedisReplyError(message: "NOPERM no naming")), toCommand: 1) == nil)
    #expect(greeting.fault(in: .error(RedisReplyError(message: "ERR DB index is out of range")), toCommand: 0) != nil)
  }
}

@Suite struct MailboxTests {
  /// Whoever is cancelled holds a lock of the runtime while it leaves: telling it must not wait for that with the mailbox locked.
  @Test(.timeLimit(.minutes(2))) func watchersThatAreCancelledWhileTheyAreToldBlockNobody() async throws {
    let mailbox = Mailbox()
    let publisher = Task.detached {
      for round in 1...60_000 {
        mailbox.publish(round % 2 == 0 ? .connecting : .connected(epoch: round), refusal: nil)
        if round % 100 == 0 { await Task.yield() }
      }
    }
    await withTaskGroup(of: Void.self) { group in
      for _ in 0..<4 {
        group.addTask {
          for _ in 0..<2000 {
            let watcher = Task.detached { for await _ in mailbox.states() {} }
            await Task.yield()
            watcher.cancel()
            await watcher.value
          }
        }
      }
    }
    await publisher.value
    #expect(mailbox.connection == .connecting)
    _ = mailbox.finish(.closed)
  }
}
