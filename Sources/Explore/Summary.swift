// Runs budgets on two threads and words what came out.
import Dispatch
import Glibc
import Synchronization

enum Summary {
  /// One search. True: every property holds.
  static func one(_ outcome: Outcome) -> Bool {
    print(
      "\(grouped(outcome.states)) states\(outcome.isComplete ? "" : " (not all of them)"), \(outcome.bytesPerState) bytes each")
    for trace in outcome.traces { print(worded(trace)) }
    if outcome.traces.isEmpty { print(outcome.isComplete ? "every property holds" : "no property was seen broken") }
    return outcome.traces.isEmpty && outcome.isComplete
  }

  static func worded(_ trace: Trace) -> String {
    let steps = trace.steps.enumerated().map { "  \($0.offset + 1). \($0.element)" }
    let note = trace.note.isEmpty ? "" : " (\(trace.note))"
    return (["\(trace.property.name) broken: \(trace.property.words)\(note)"] + steps).joined(separator: "\n")
  }

  /// One of the standard budgets has at least so many distinct states; less would mean that the search finds less to do than it did.
  static let fewestStates = 10_000_000

  /// The standard budgets. True: every property holds in all of them, and the largest of them is large enough.
  static func all(limit: Int) -> Bool {
    let started = seconds()
    print("| budget (every rule in force) | states | seconds | result |\n|---|---|---|---|")
    let total = Mutex(0)
    let largest = Mutex(0)
    let holds = Mutex(true)
    run(
      Budgets.standard.map { text in
        { @Sendable in
          guard let faults = Faults(text) else { return "| \(text) | | | **not a budget** |" }
          let began = seconds()
          var search = Search(setting: Setting(faults))
          search.limit = limit
          let outcome = search.run()
          total.withLock { $0 += outcome.states }
          largest.withLock { $0 = max($0, outcome.states) }
          if !outcome.traces.isEmpty || !outcome.isComplete { holds.withLock { $0 = false } }
          let result =
            outcome.traces.isEmpty
            ? outcome.isComplete ? "P1 to P7 hold" : "**not finished**"
            : outcome.traces.map { "**\($0.property.name)** in \($0.steps.count) steps" }.joined(separator: ", ")
          let row = "| \(faults.text) | \(grouped(outcome.states)) | \(Int(seconds() - began)) | \(result) |"
          return ([row] + outcome.traces.map(worded)).joined(separator: "\n")
        }
      })
    let count = total.withLock { $0 }
    let most = largest.withLock { $0 }
    print(
      "\n\(grouped(count)) states in \(Int(seconds() - started)) s, at most \(peakMegabytes()) MB; \(grouped(most)) distinct ones in the largest"
    )
    if most < fewestStates { print("**fewer than \(grouped(fewestStates)) in the largest**") }
    return holds.withLock { $0 } && most >= fewestStates
  }

  /// Each rule left out. True: each breaks what `Budgets.showing` says it does.
  static func allRules(limit: Int) -> Bool {
    print("| left out | rule | breaks | budget |\n|---|---|---|---|")
    let holds = Mutex(true)
    run(
      Rules.Name.allCases.map { rule in
        { @Sendable in
          var tried = 0
          for text in Budgets.showing[rule].map({ [$0.budget] }) ?? Budgets.standard {
            guard let faults = Faults(text) else { return "| `\(rule.rawValue)` | | **not a budget** | \(text) |" }
            var search = Search(setting: Setting(faults, .all.without([rule])))
            search.stopsAtFirst = true
            search.limit = limit
            let outcome = search.run()
            tried += outcome.states
            if let trace = outcome.traces.first {
              if let shown = Budgets.showing[rule], shown.property != trace.property || shown.steps != trace.steps.count {
                holds.withLock { $0 = false }
              }
              return
                "| `\(rule.rawValue)` | \(rule.words) | **\(trace.property.name)** in \(trace.steps.count) steps | \(faults.text) |"
            }
          }
          if !Budgets.silent.contains(rule) { holds.withLock { $0 = false } }
          return "| `\(rule.rawValue)` | \(rule.words) | nothing within \(grouped(tried)) states | the standard ones |"
        }
      })
    return holds.withLock { $0 }
  }

  /// Two at a time; each line is printed as soon as all before it are there.
  private static func run(_ jobs: [@Sendable () -> String]) {
    let lines = Mutex((next: 0, printed: 0, ready: [Int: String]()))
    DispatchQueue.concurrentPerform(iterations: 2) { _ in
      while true {
        let mine = lines.withLock { lines -> Int in
          lines.next += 1
          return lines.next - 1
        }
        guard mine < jobs.count else { return }
        let line = jobs[mine]()
        lines.withLock { lines in
          lines.ready[mine] = line
          while let line = lines.ready.removeValue(forKey: lines.printed) {
            print(line)
            fflush(nil)
            lines.printed += 1
          }
        }
      }
    }
  }

  static func grouped(_ number: Int) -> String {
    var text = ""
    for (index, digit) in String(number).reversed().enumerated() {
      if index > 0, index % 3 == 0 { text.append(" ") }
      text.append(digit)
    }
    return String(text.reversed())
  }

  static func padded(_ text: String, _ width: Int) -> String { text + String(repeating: " ", count: max(0, width - text.count)) }

  private static func seconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
  }

  private static func peakMegabytes() -> Int {
    var usage = rusage()
    getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    return usage.ru_maxrss / 1024
  }
}
