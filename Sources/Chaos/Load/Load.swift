// The load: posts tasks at an even rate until enough runs are accepted, puts some into the agents' plain hashes, asks for some to be killed, and
// reads states all the while. Every thread of it ends soon after `stop`.

import Shared
import Synchronization

final class Load: Sendable {
  private let stand: Stand
  private let ledger: Ledger
  private let seed: UInt64
  private let agents: Int
  private let runs: Int
  private let milliseconds: Int
  private let began: Int
  private let nextNumber: Atomic<Int>
  private let isPosting = Atomic(true)
  private let isFollowing = Atomic(true)
  private let posters = Mutex<[Background]>([])
  private let followers = Mutex<[Background]>([])
  private let kills = Mutex<[(due: Int, run: String)]>([])

  private static let posterCount = 6

  /// - Parameters:
  ///   - runs: how many are to be accepted within `milliseconds`.
  ///   - first: the number of the first task; a second load of the same stand begins where the first one ended.
  init(_ stand: Stand, _ ledger: Ledger, seed: UInt64, runs: Int, milliseconds: Int, first: Int = 0) {
    (self.stand, self.ledger, self.seed) = (stand, ledger, seed)
    (agents, self.runs, self.milliseconds) = (stand.settings.agents, runs, milliseconds)
    nextNumber = Atomic(first)
    began = Monotonic.milliseconds
    let before = ledger.acceptedRuns
    posters.withLock { posters in
      for _ in 0..<Self.posterCount { posters.append(Background { [self] in post(beyond: before) }) }
      posters.append(Background { [self] in putPlain(first: first) })
    }
    followers.withLock {
      $0 = [
        Background { [self] in follow(newest: true) }, Background { [self] in follow(newest: false) },
        Background { [self] in killSome() },
      ]
    }
  }

  /// Ends the posting; states are still read.
  func stopPosting() {
    isPosting.store(false, ordering: .relaxed)
    posters.withLock { posters in
      for poster in posters { poster.join() }
      posters = []
    }
  }

  func stop() {
    stopPosting()
    isFollowing.store(false, ordering: .relaxed)
    followers.withLock { followers in
      for follower in followers { follower.join() }
      followers = []
    }
  }

  // MARK: Posting

  private func post(beyond before: Int) {
    while isPosting.load(ordering: .relaxed) {
      let accepted = ledger.acceptedRuns - before
      let due = min(runs, runs * (Monotonic.milliseconds - began) / max(1, milliseconds) + 1)
      guard accepted < due else {
        if accepted >= runs { return }
        Monotonic.pause(10)
        continue
      }
      let number = nextNumber.wrappingAdd(1, ordering: .relaxed).oldValue
      if !post(PostedTask(seed: seed, number: number, agents: agents)) { Monotonic.pause(100) }
    }
  }

  /// True if it was accepted.
  private func post(_ task: PostedTask) -> Bool {
    let at = Monotonic.milliseconds
    let outcome: PostRecord.Outcome
    do throws(ConnectionFault) {
      outcome = read(try stand.http.post(task.path, task.body(stand.grounds)), asked: at)
    } catch {
      outcome = error.isRefusal ? .refused(0) : .unanswered(error.description)
    }
    ledger.posted(PostRecord(number: task.number, at: at, answeredAt: Monotonic.milliseconds, outcome: outcome))
    guard case .accepted(let accepted) = outcome else { return false }
    if let after = task.killAfter {
      let due = Monotonic.milliseconds + after
      kills.withLock { kills in kills += accepted.map { (due, $0) } }
    }
    return true
  }

  private func read(_ answer: HTTPAnswer, asked: Int) -> PostRecord.Outcome {
    guard answer.status == 202 || answer.status == 200 else {
      // 503 standby and draining, and every 4xx, are said before anything is stored.
      let code = answer.json?["error"]?["code"]?.asString ?? ""
      let isSure = answer.status < 500 || ["standby", "draining", "redis_away", "busy"].contains(code)
      return isSure ? .refused(answer.status) : .unanswered("\(answer.status) \(code)")
    }
    let runs = answer.json?["runs"]?.asArray ?? []
    let now = Monotonic.milliseconds
    for run in runs {
      if let id = run["auuid"]?.asString, let state = run["state"]?.asString {
        ledger.saw(id, in: state, asked: asked, answered: now)
      }
    }
    return .accepted(runs.compactMap { $0["auuid"]?.asString })
  }

  // MARK: The plain hash

  static func plainName(_ number: Int) -> String { "plain\(number)" }

  /// One for every thirty runs, by hand, past every proxy.
  private func putPlain(first: Int) {
    var number = first
    while isPosting.load(ordering: .relaxed) {
      guard number - first < max(1, runs / 30) * (Monotonic.milliseconds - began) / max(1, milliseconds) else {
        if Monotonic.milliseconds > began + milliseconds { return }
        Monotonic.pause(50)
        continue
      }
      let agent = PostedTask.agentName(number % agents)
      let command = "echo \"$MUSTER_RUN $PPID plain \(number)\" >> '\(stand.grounds.starts)'; echo plain"
      do throws(ConnectionFault) {
        if case .integer = try stand.redis("HSET", agent, Self.plainName(number), command) {
          ledger.plain(number, answered: true)
        }
      } catch {
        ledger.plain(number, answered: false)
        Monotonic.pause(200)
      }
      number += 1
    }
  }

  // MARK: Reading

  /// The newest page again and again, or page after page to the oldest.
  private func follow(newest: Bool) {
    var after = ""
    while isFollowing.load(ordering: .relaxed) {
      let at = Monotonic.milliseconds
      do throws(ConnectionFault) {
        let answer = try stand.http.get("/v1/runs?limit=100\(after)", patience: 5000)
        let now = Monotonic.milliseconds
        for run in answer.json?["items"]?.asArray ?? [] {
          if let id = run["auuid"]?.asString, let state = run["state"]?.asString {
            ledger.saw(id, in: state, asked: at, answered: now)
          }
        }
        after = newest ? "" : answer.json?["next"]?.asString.map { "&after=\($0)" } ?? ""
      } catch {
        after = ""
      }
      Monotonic.pause(newest ? 400 : 250)
    }
  }

  // MARK: Killing through the API

  private func killSome() {
    while isFollowing.load(ordering: .relaxed) {
      let now = Monotonic.milliseconds
      let due = kills.withLock { kills in
        let due = kills.filter { $0.due <= now }.map(\.run)
        kills.removeAll { $0.due <= now }
        return due
      }
      for run in due {
        do throws(ConnectionFault) {
          let answer = try stand.http.post("/v1/runs/\(run)/kill", Array("{}".utf8), patience: 5000)
          let code = answer.json?["error"]?["code"]?.asString ?? ""
          // This dashboard cannot kill yet.
          if code == "unknown_route" { return }
          let isSure = answer.status != 202 && answer.status < 500
          ledger.askedToKill(run, refused: isSure ? "\(answer.status) \(code)" : nil)
        } catch { if !error.isRefusal { ledger.askedToKill(run) } }
      }
      Monotonic.pause(20)
    }
  }
}
