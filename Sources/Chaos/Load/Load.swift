// The load: posts tasks at an even rate until enough runs are accepted, puts some into the agents' plain hashes, asks for some to be killed, and
// reads states all the while. Every thread of it ends soon after `stop`.
//
// Invariant: while states are read, whatever would not end by itself (`endless`) is asked to be killed, once: again only where nobody took that,
// or a database that went back has forgotten it.

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
  /// When a run is to be asked to be killed.
  private let kills = Mutex<[String: Int]>([:])
  private let restores: @Sendable () -> [Deeds.Restore]

  private static let posterCount = 6
  /// Milliseconds that a run gets of which nobody knows any more what it is: nearly every command ends by itself before.
  private static let patienceWithUnknown = 5000

  /// - Parameters:
  ///   - runs: how many are to be accepted within `milliseconds`.
  ///   - first: the number of the first task; a second load of the same stand begins where the first one ended.
  ///   - restores: what the database has forgotten so far.
  init(
    _ stand: Stand, _ ledger: Ledger, seed: UInt64, runs: Int, milliseconds: Int, first: Int = 0,
    restores: @escaping @Sendable () -> [Deeds.Restore]
  ) {
    (self.stand, self.ledger, self.seed, self.restores) = (stand, ledger, seed, restores)
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
      kills.withLock { kills in for run in accepted { kills[run] = due } }
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
    note(runs, asked: asked)
    return .accepted(runs.compactMap { $0["auuid"]?.asString })
  }

  private func note(_ runs: [JSONValue], asked: Int) {
    let now = Monotonic.milliseconds
    for run in runs {
      if let id = run["auuid"]?.asString, let state = run["state"]?.asString {
        ledger.saw(id, in: state, taskname: run["taskname"]?.asString, asked: asked, answered: now)
      }
    }
  }

  // MARK: The plain hash

  static func plainName(_ number: Int) -> String { "plain\(number)" }
  static func plainNumber(ofName name: String) -> Int? { name.hasPrefix("plain") ? Int(name.dropFirst("plain".count)) : nil }

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
      let command = "\(stand.grounds.startLine("plain \(number)")); echo plain"
      let at = Monotonic.milliseconds
      do throws(ConnectionFault) {
        if case .integer = try stand.redis("HSET", agent, Self.plainName(number), command) {
          ledger.plain(number, at: at, answered: true)
        }
      } catch {
        ledger.plain(number, at: at, answered: false)
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
        note(answer.json?["items"]?.asArray ?? [], asked: at)
        after = newest ? "" : answer.json?["next"]?.asString.map { "&after=\($0)" } ?? ""
      } catch {
        after = ""
      }
      Monotonic.pause(newest ? 400 : 250)
    }
  }

  // MARK: Killing through the API

  private func killSome() {
    var lookAt = 0
    while isFollowing.load(ordering: .relaxed) {
      let now = Monotonic.milliseconds
      if now >= lookAt {
        lookForEndless()
        lookAt = now + 1000
      }
      let due = kills.withLock { kills in
        let due = kills.filter { $0.value <= now }.map(\.key)
        for run in due { kills[run] = nil }
        return due
      }
      for run in due { kill(run) }
      Monotonic.pause(20)
    }
  }

  private func kill(_ run: String) {
    do throws(ConnectionFault) {
      let answer = try stand.http.post("/v1/runs/\(run)/kill", Array("{}".utf8), patience: 5000)
      let words = "\(answer.status) \(answer.json?["error"]?["code"]?.asString ?? "")"
      ledger.askedToKill(run, answer.status == 202 ? .told : answer.status < 500 ? .refused(words) : .none)
    } catch { if !error.isRefusal { ledger.askedToKill(run, .none) } }
  }

  /// Open runs that would go on for ever: the post may have been unanswered, the request to kill it refused.
  private func lookForEndless() {
    let at = Monotonic.milliseconds
    do throws(ConnectionFault) {
      let path = "/v1/runs?limit=1000&state=queued&state=sent&state=running&state=unknown"
      let open = try stand.http.get(path, patience: 5000).json?["items"]?.asArray ?? []
      note(open, asked: at)
      let restores = self.restores()
      for row in open.compactMap(RunRow.init) {
        let task = ledger.number(of: row.run).map { PostedTask(seed: seed, number: $0, agents: agents) }
        guard Self.needsKill(row, task, toldAt: ledger.killTold(row.run), restores: restores) else { continue }
        let due = Monotonic.milliseconds + (task?.killAfter ?? Self.patienceWithUnknown)
        kills.withLock { kills in if kills[row.run] == nil { kills[row.run] = due } }
      }
    } catch {
      // The dashboard is away: the next look is a second later.
    }
  }

  /// Whether an open run has to be asked to be killed, or asked again.
  /// - Parameter toldAt: when a request was taken last.
  static func needsKill(_ row: RunRow, _ task: PostedTask?, toldAt: Int?, restores: [Deeds.Restore]) -> Bool {
    // What it is may be forgotten with its post: then it may be an endless one.
    guard task.map({ $0.kind == .endless }) ?? row.isUnknown else { return false }
    guard let toldAt else { return true }
    return restores.contains { ($0.copiedAt...$0.restoredAt).contains(toldAt) }
  }
}
