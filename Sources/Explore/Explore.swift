// `explore`: tries every order of crashes, losses and delays that a budget allows, and drives the real `Flow` functions of both sides through them
// (docs/decisions/0015). The environment (World, Moves) is the explorer's own; what is decided is decided by Shared/Flow.
//   Rules, Faults        what can be left out, what may go wrong       World, Names      one state, and how it reads for the real functions
//   …Moves               what may happen next                          RedisMirror       the scripts as pure functions
//   Properties           what must hold                                Search, StateSet  the search
import Dispatch
import Glibc

@main
enum Explore {
  static func main() {
    var arguments = Arguments()
    do {
      try arguments.read(CommandLine.arguments.dropFirst())
    } catch {
      let sentence = Array("explore: \(error)\n".utf8)
      _ = write(STDERR_FILENO, sentence, sentence.count)
      exit(2)
    }
    switch arguments.command {
    case .help: print(Arguments.help)
    case .list: print(list())
    case .all: exit(Summary.all(limit: arguments.limit) ? 0 : 1)
    case .allRules: exit(Summary.allRules(limit: arguments.limit) ? 0 : 1)
    case .one:
      var search = Search(setting: Setting(arguments.faults, .all.without(arguments.without)))
      search.stopsAtFirst = arguments.stopsAtFirst
      search.limit = arguments.limit
      exit(Summary.one(search.run()) ? 0 : 1)
    }
  }

  static func list() -> String {
    let rules = Rules.Name.allCases.map { "  \(Summary.padded($0.rawValue, 12))\($0.words)" }
    let faults = Faults.table.map { "  \(Summary.padded($0.name, 12))\($0.words)" }
    let properties = Property.allCases.map { "  \(Summary.padded($0.name, 12))\($0.words)" }
    return (["rules (--without=):"] + rules + ["faults:"] + faults + ["properties:"] + properties).joined(separator: "\n")
  }
}
