// What the harness prints. Everything goes to standard output, each line at once: it is read while it goes on, and kept by whoever runs it.

import Glibc

enum Report {
  @Sendable static func say(_ line: String) {
    let bytes = Array((line + "\n").utf8)
    _ = bytes.withUnsafeBytes { write(1, $0.baseAddress, $0.count) }
  }

  static func summary(_ evidence: Evidence, _ check: PromiseCheck, _ plan: Plan) {
    var states: [String: Int] = [:]
    for row in evidence.rows.values { states[row.state, default: 0] += 1 }
    let posts = evidence.ledger.posts.values
    let unanswered = posts.count { if case .unanswered = $0.outcome { true } else { false } }
    let refused = posts.count { if case .refused = $0.outcome { true } else { false } }
    say("")
    say("accepted   \(evidence.ledger.acceptedRuns) runs (\(posts.count) posts: \(unanswered) unanswered, \(refused) refused)")
    say("history    \(states.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }.joined(separator: ", "))")
    say(
      "on disk    \(evidence.starts.values.reduce(0) { $0 + $1.count }) starts of \(evidence.starts.count) runs, \(evidence.ends.count) ends"
    )
    say("output     \(evidence.outputsChecked) checked byte by byte, \(evidence.outputFaults.count) wrong")
    say(
      "watched    \(evidence.ledger.seen.count) runs, \(evidence.ledger.killAsked.count) asked to be killed, \(evidence.ledger.killTold.count) of them taken; "
        + "\(evidence.attempts.values.reduce(0) { $0 + $1.count }) attempts of \(evidence.attempts.count) runs with retries")
    say(
      "killed     \(evidence.deeds.kills) processes, \(evidence.deeds.runnerKills.count) of them runners; database restored \(evidence.deeds.restores.count) times"
    )
    say(
      "plain      \(evidence.ledger.plain.count) put by hand, \(check.plainNever) never started, \(check.plainTwice) twice"
        + (evidence.redisForgets ? " (Redis may forget here)" : ""))
    for growth in evidence.growth { say("\(growth.program): \(growth.before), then \(growth.after)") }
    say(
      plan.name == .unclosable
        ? "seed \(plan.seed): \(check.violations.count) things that DESIGN calls not closable, or worse (shown, not judged)"
        : "seed \(plan.seed): \(check.violations.count) violations")
    if plan.name == .unclosable { for violation in check.violations.prefix(40) { say("  \(violation)") } }
    // scripts/chaos adds these up.
    say("sum: \(evidence.ledger.acceptedRuns) runs accepted, \(evidence.deeds.kills) processes killed")
  }

  static func violations(_ check: PromiseCheck, _ plan: Plan, began: Int) {
    for violation in check.violations.prefix(40) {
      say("")
      say("VIOLATION  \(violation)")
      guard let at = violation.at else { continue }
      let time = at - began
      say("  seen at \(time / 1000).\(String(time % 1000 + 1000).dropFirst()) s; the plan around it:")
      for step in plan.steps where (time - 20_000...time + 2000).contains(step.at) { say("  \(step)") }
    }
    if check.violations.count > 40 { say("… and \(check.violations.count - 40) more") }
    say("")
    say("the same again: chaos --seed \(plan.seed) with the same duration, agents and runs")
  }
}
