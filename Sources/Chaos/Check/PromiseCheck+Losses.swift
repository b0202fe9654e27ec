// What explains that something is lost: its runner was killed. A runner has one attempt at a time, so a kill explains one loss and no more.
//
// An attempt that came to write its line names its runner there, and only that one's end explains it. Before that (from the output file on, which
// its runner makes, an attempt is lost with it) it has no name; nor has one whose runner was gone before its shell asked. Such a loss is explained
// by the end of any runner of that agent, in its time, that explains no other loss. It may well be one that earlier lines name: runners
// serve one attempt after the other.

import Shared

struct Loss {
  /// Nil: a plain task of which not even the history is left.
  let run: String?
  let plain: Int?
  let attempt: Int
  /// The kills that may explain it, by their places in `Deeds.runnerKills`.
  let kills: [Int]
}

extension PromiseCheck {
  mutating func lossesAreExplained() {
    let losses = losses()
    let explained = Assignment(losses.map(\.kills)).assigned
    for (index, loss) in losses.enumerated() {
      if explained.contains(index) {
        if let plain = loss.plain { plainLost.insert(plain) }
        continue
      }
      guard let run = loss.run, let row = evidence.rows[run] else { continue }
      let what = loss.attempt == row.attempt ? "is \(row.summary)" : "lost its attempt \(loss.attempt)"
      let why = loss.kills.isEmpty ? "nobody killed its runner" : "whatever was killed then explains another loss"
      found("\(what), and \(why)", run: run, at: evidence.ledger.seen[run]?.verdictAt)
    }
  }

  private func losses() -> [Loss] {
    var losses: [Loss] = []
    var plainWithHistory: Set<Int> = []
    for (run, row) in evidence.rows {
      let plain = Load.plainNumber(ofName: row.taskname)
      if let plain { plainWithHistory.insert(plain) }
      let lost = lostAttempts(row)
      guard !lost.isEmpty else { continue }
      let sighting = evidence.ledger.seen[run]
      // After a database went back another verdict may have been seen first: then its time says nothing.
      let until = sighting.flatMap { $0.verdict == row.state ? $0.verdictAt : nil } ?? .max
      let posted = post(of: run)?.at ?? plain.flatMap { evidence.ledger.plain[$0]?.at } ?? 0
      let kills = runnerKills(of: row.agent, from: posted, until: until)
      for attempt in lost {
        let named = runner(of: attempt, row).map { runner in kills.filter { evidence.deeds.runnerKills[$0].pid == runner } }
        losses.append(Loss(run: run, plain: plain, attempt: attempt, kills: named ?? kills))
      }
    }
    // A database that was put back may have forgotten the run with its verdict.
    let started = Set(evidence.starts.values.flatMap { $0.compactMap(\.plain) })
    for (number, record) in evidence.ledger.plain
    where record.answered && !started.contains(number) && !plainWithHistory.contains(number) {
      guard evidence.deeds.restores.contains(where: { $0.restoredAt >= record.at }) else { continue }
      let agent = PostedTask.agentName(number % evidence.agents)
      losses.append(Loss(run: nil, plain: number, attempt: 1, kills: runnerKills(of: agent, from: record.at, until: .max)))
    }
    return losses
  }

  /// The numbers of its lost attempts.
  private func lostAttempts(_ row: RunRow) -> [Int] {
    let lost = RunState.lost.rawValue
    if !row.isUnknown, let attempts = evidence.attempts[row.run] {
      return attempts.filter { $0.state == lost }.map(\.attempt)
    }
    return row.state == lost ? [row.attempt] : []
  }

  /// The runner that an attempt named; nil where it did not come so far, or where nobody can tell which line is its.
  private func runner(of attempt: Int, _ row: RunRow) -> Int32? {
    let lines = evidence.starts[row.run] ?? []
    // A restored database that never accepted it may speak of any of its attempts.
    let mayBeAnother = row.isUnknown && (task(of: row.run)?.retries ?? 0) > 0
    guard lines.count == row.attempt, lines.indices.contains(attempt - 1), !mayBeAnother else { return nil }
    // A shell whose runner was killed before it could ask names the process that inherited it.
    let runner = lines[attempt - 1].runner
    return evidence.inheritors.contains(runner) ? nil : runner
  }

  private func runnerKills(of agent: String, from: Int, until: Int) -> [Int] {
    evidence.deeds.runnerKills.indices.filter { index in
      let kill = evidence.deeds.runnerKills[index]
      return PostedTask.agentName(kill.agent) == agent && (from...max(from, until)).contains(kill.at)
    }
  }
}

/// Gives each item one of its candidates that no other item has, to as many items as possible (augmenting paths).
struct Assignment {
  private let candidates: [[Int]]
  private var owners: [Int: Int] = [:]

  init(_ candidates: [[Int]]) {
    self.candidates = candidates
    for item in candidates.indices {
      var asked: Set<Int> = []
      _ = place(item, &asked)
    }
  }

  /// The items that have one.
  var assigned: Set<Int> { Set(owners.values) }

  private mutating func place(_ item: Int, _ asked: inout Set<Int>) -> Bool {
    for candidate in candidates[item] where asked.insert(candidate).inserted {
      if let owner = owners[candidate], !place(owner, &asked) { continue }
      owners[candidate] = item
      return true
    }
    return false
  }
}
