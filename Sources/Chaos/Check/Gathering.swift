// Asks the dashboard, at the end, for everything it knows: every run, and the whole output of each one whose output is known beforehand.

import Crypto
import Shared
import Synchronization

struct Gathering {
  let http: HTTPCall

  /// - Throws: `HarnessFault` when the dashboard does not answer at all: everything is up by now.
  func rows() throws -> [String: RunRow] {
    var rows: [String: RunRow] = [:]
    var after = ""
    while true {
      let answer = try json("/v1/runs?limit=500\(after)")
      for row in (answer["items"]?.asArray ?? []).compactMap(RunRow.init) { rows[row.run] = row }
      guard let next = answer["next"]?.asString else { return rows }
      after = "&after=\(next)"
    }
  }

  /// Every attempt of these runs.
  func attempts(of runs: [String]) throws -> [String: [AttemptRow]] {
    var attempts: [String: [AttemptRow]] = [:]
    for run in runs { attempts[run] = (try json("/v1/runs/\(run)")["attempts"]?.asArray ?? []).compactMap(AttemptRow.init) }
    return attempts
  }

  /// How many runs are not ended.
  func open() throws -> Int {
    let answer = try json("/v1/runs?limit=1000&state=queued&state=sent&state=running&state=unknown")
    return answer["items"]?.asArray?.count ?? 0
  }

  private func json(_ path: String) throws -> JSONValue {
    var last = ""
    for _ in 0..<10 {
      do throws(ConnectionFault) {
        let answer = try http.get(path, patience: 60_000)
        if answer.status == 200, let json = answer.json { return json }
        last = "status \(answer.status)"
      } catch { last = error.description }
      Monotonic.pause(500)
    }
    throw HarnessFault("the dashboard does not answer \(path): \(last)")
  }

  /// What is wrong with the output of runs that came to their own end: run → a sentence; and how many were looked at.
  func outputFaults(_ rows: some Sequence<RunRow>, tasks: @escaping @Sendable (RunRow) -> PostedTask?) -> (
    faults: [String: String], checked: Int
  ) {
    let waiting = Mutex(rows.filter { [RunState.succeeded, .failed, .timedOut].map(\.rawValue).contains($0.state) })
    let results = Mutex<(faults: [String: String], checked: Int)>(([:], 0))
    let http = self.http
    withoutActuallyEscaping({ @Sendable () -> Void in
      while let row = waiting.withLock({ $0.popLast() }) {
        guard let task = tasks(row) else { continue }
        let fault = Self.outputFault(row, task, http)
        results.withLock {
          $0.checked += 1
          if let fault { $0.faults[row.run] = fault }
        }
      }
    }) { work in
      let threads = (0..<3).map { _ in Background(work) }
      for thread in threads { thread.join() }
    }
    return results.withLock { $0 }
  }

  private static func outputFault(_ row: RunRow, _ task: PostedTask, _ http: HTTPCall) -> String? {
    let expected = task.output(of: row.run)
    let sum = SHA256.hash(data: expected).map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
    if let said = row.stdoutSha256, said != sum { return "the hash it tells is not that of its output" }
    var last = ""
    // A verdict may overtake its output; and what a restored database lacks is asked for every ten seconds.
    let deadline = Monotonic.milliseconds + 30_000
    repeat {
      if !last.isEmpty { Monotonic.pause(1000) }
      do throws(ConnectionFault) {
        let answer = try http.get("/v1/runs/\(row.run)/log?stream=stdout", accept: "text/plain", patience: 60_000)
        if answer.status == 200, answer.body == expected { return nil }
        let same = zip(answer.body, expected).prefix { $0 == $1 }.count
        last =
          answer.status == 200
          ? "its output is not complete: \(answer.body.count) of \(expected.count) bytes, equal up to \(same)"
          : "its output cannot be read: status \(answer.status)"
      } catch { last = "its output cannot be read: \(error)" }
    } while Monotonic.milliseconds < deadline
    return last
  }
}
