// The executable `chaos`: kills and starts a whole Muster by a seeded plan, and checks that every promise was kept. No part of what is shipped.

import ArgumentParser
import Glibc
import Synchronization

@main
struct ChaosCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "chaos",
    abstract: "Kills, holds, cuts off and restores a real Muster by a seeded plan, and checks that it kept its promises.",
    discussion: """
      Starts a Redis, a dashboard and agents of its own on free ports and in a temporary folder, posts tasks whose commands write their run's \
      id to a file, and does meanwhile what the plan says. The same seed, duration and number of agents give the same plan. Afterwards \
      everything is brought up again, every run must have come to its one true verdict, and nothing may be left.

      Plans: main (odd seeds: redis, even ones: restore), redis (Redis loses what it held), restore (the dashboard's database goes back to a \
      copy), unclosable (both; tells what happened and judges nothing).

      Exit codes: 0 every promise was kept, 1 one was broken (its traces are kept and named), 2 wrong usage, 3 the harness itself could not \
      do its work.
      """)

  @Option(help: "What the plan and the tasks are made from.")
  var seed: UInt64 = 1
  @Option(help: "Seconds of faults; bringing everything to its end comes on top.")
  var duration = 120
  @Option(help: "How many agents.")
  var agents = 3
  @Option(help: "How many runs are to be accepted.")
  var runs = 3000
  @Option(help: "main, redis, restore or unclosable.")
  var plan = PlanName.main
  @Option(help: ArgumentHelp("The folder of the programs dashboard and agent; by default this one's own.", valueName: "DIR"))
  var programs: String?
  @Flag(help: "Leave logs, databases and journals behind also when nothing was broken.")
  var keep = false
  @Flag(help: "Print the plan and do nothing.")
  var listPlan = false

  func validate() throws {
    for (name, value, range) in [("duration", duration, 1...86_400), ("agents", agents, 1...64), ("runs", runs, 1...1_000_000)] {
      guard range.contains(value) else { throw ValidationError("--\(name) must be \(range.lowerBound) to \(range.upperBound)") }
    }
  }

  func run() throws {
    if listPlan {
      let plan = Plan(plan, seed: seed, seconds: duration, agents: agents)
      for step in plan.steps { Report.say("\(step)") }
      return
    }
    let folder = programs ?? Self.ownFolder
    for name in ["dashboard", "agent"] where access("\(folder)/\(name)", X_OK) != 0 {
      Report.say("chaos: there is no program \(folder)/\(name): build it first, or name its folder with --programs")
      throw ExitCode(3)
    }
    signal(SIGPIPE, SIG_IGN)
    let campaign = Campaign(
      CampaignSettings(seed: seed, seconds: duration, agents: agents, runs: runs, plan: plan, programs: folder, keep: keep))
    Self.onInterrupt { campaign.interrupt() }
    do { if try !campaign.run() { throw ExitCode(1) } } catch let fault as HarnessFault {
      Report.say("chaos: \(fault)")
      throw ExitCode(3)
    }
  }

  static func main() {
    do {
      var command = try parseAsRoot()
      try command.run()
    } catch let code as ExitCode {
      Glibc.exit(code.rawValue)
    } catch {
      let isHelp = exitCode(for: error).isSuccess
      Report.say(fullMessage(for: error))
      Glibc.exit(isHelp ? 0 : 2)
    }
  }

  private static var ownFolder: String {
    var path = [CChar](repeating: 0, count: 4096)
    let count = readlink("/proc/self/exe", &path, path.count)
    let bytes = path.prefix(max(0, count)).map { UInt8(bitPattern: $0) }
    return String(decoding: bytes[..<(bytes.lastIndex(of: UInt8(ascii: "/")) ?? bytes.endIndex)], as: UTF8.self)
  }

  /// SIGINT and SIGTERM are taken by a thread of their own; every other one, made later, has them blocked.
  private static func onInterrupt(_ act: @escaping @Sendable () -> Void) {
    var set = sigset_t()
    sigemptyset(&set)
    sigaddset(&set, SIGINT)
    sigaddset(&set, SIGTERM)
    pthread_sigmask(SIG_BLOCK, &set, nil)
    let waited = set
    _ = Background {
      var set = waited
      var number: Int32 = 0
      while sigwait(&set, &number) == 0 {
        Report.say("chaos: interrupted; cleaning up")
        act()
      }
    }
  }
}

extension PlanName: ExpressibleByArgument {}
