import Runner
import Glibc

@main struct RunnerTestChild {
  static func main() {
    let arguments = Array(CommandLine.arguments.dropFirst())
    if arguments.first == "runner" { exit(RunnerMain.run(arguments: Array(arguments.dropFirst()))) }
  }
}
