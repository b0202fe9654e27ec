// The executable's entry. `@main` and not top-level code: that would be main-actor isolated, and nothing here belongs to an actor.
//
// `agent runner …` comes before everything else, and everything else stays untouched by it: a runner has no Foundation, no logging, no
// argument parser and no second thread (DESIGN section 3, step 5).

import Glibc
import Runner

@main
enum AgentMain {
  static func main() {
    let arguments = CommandLine.arguments
    if arguments.count > 1, arguments[1] == "runner" { exit(RunnerMain.run(arguments: Array(arguments.dropFirst(2)))) }
    Terminal.secureDescriptors()
    exit(AgentCommand.main(arguments: Array(arguments.dropFirst())).rawValue)
  }
}
