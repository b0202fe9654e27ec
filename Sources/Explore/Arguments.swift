// The command line: a budget and options.

struct Arguments {
  enum Command { case one, all, allRules, list, help }
  var command = Command.one
  var faults = Faults()
  var without: [Rules.Name] = []
  var stopsAtFirst = false
  var limit = 40_000_000

  struct Fault: Error, CustomStringConvertible {
    let description: String
  }

  mutating func read(_ words: some Sequence<String>) throws {
    var budget: [String] = []
    var isEmpty = true
    for word in words {
      isEmpty = false
      switch word {
      case "--help", "-h": command = .help
      case "--list": command = .list
      case "--all": command = .all
      case "--all-rules": command = .allRules
      case "--first": stopsAtFirst = true
      case _ where word.hasPrefix("--without="):
        for name in word.dropFirst(10).split(separator: ",") {
          guard let rule = Rules.Name(rawValue: String(name)) else {
            throw Fault(description: "no rule is named '\(name)' (--list)")
          }
          without.append(rule)
        }
      case _ where word.hasPrefix("--limit="):
        guard let count = Int(word.dropFirst(8)), count > 0, count < Int(UInt32.max) else {
          throw Fault(description: "--limit wants a number of states")
        }
        limit = count
      case _ where word.hasPrefix("-"): throw Fault(description: "unknown option '\(word)' (--help)")
      default: budget.append(word)
      }
    }
    if isEmpty { command = .help }
    guard let faults = Faults(budget.joined(separator: " ")) else {
      throw Fault(description: "'\(budget.joined(separator: " "))' is no budget: name=count with counts up to 3 (--list)")
    }
    self.faults = faults
  }

  static let help = """
    explore [fault=n ...] [--without=rule,...] [--first] [--limit=states]   one budget; prints the shortest trace to each broken property
    explore --all                                                          the standard budgets, every rule in force
    explore --all-rules                                                    each rule left out, and what that breaks
    explore --list                                                         the rules, the faults and the properties
    Ends with 1 when a property is broken, with 2 on a wrong command line. --first stops at the first broken property.
    """
}
