// The explorer in small: budgets that a debug build searches in seconds, and the rules whose absence shows soon. `make explore` runs all of it.
import Testing

@testable import explore

@Suite struct ExplorerTests {
  private func search(_ budget: String, without rules: [Rules.Name] = [], first: Bool = false) throws -> Outcome {
    let faults = try #require(Faults(budget))
    var search = Search(setting: Setting(faults, .all.without(rules)))
    search.stopsAtFirst = first
    search.limit = 2_000_000
    return search.run()
  }

  @Test(arguments: Budgets.small)
  func everyPropertyHoldsInEveryOrderOfThatBudget(budget: String) throws {
    let outcome = try search(budget)
    #expect(outcome.isComplete)
    #expect(outcome.traces.isEmpty, "\(outcome.traces.map(Summary.worded).joined(separator: "\n"))")
    #expect(outcome.states > 1000, "the search found next to nothing to do")
  }

  @Test(arguments: Budgets.soon)
  func withoutTheRuleItsCounterexampleIsBack(rule: Rules.Name) throws {
    let shown = try #require(Budgets.showing[rule])
    let outcome = try search(shown.budget, without: [rule], first: true)
    let trace = try #require(outcome.traces.first, "\(rule.words): left out, and nothing breaks under \(shown.budget)")
    #expect(trace.property == shown.property)
    #expect(trace.steps.count == shown.steps, "\(Summary.worded(trace))")
    #expect(!trace.steps.contains("?"))
  }

  /// Else a counterexample could come back with every rule in force, and nobody would see it.
  @Test func whatABudgetShowsOfARuleIsAlsoSearchedWithEveryRuleInForce() throws {
    let standard = try Budgets.standard.map { try #require(Faults($0)) }
    for (rule, shown) in Budgets.showing {
      let budget = try #require(Faults(shown.budget))
      #expect(standard.contains { $0.covers(budget) }, "\(rule): no standard budget covers \(shown.budget)")
    }
  }

  @Test func aTraceIsWordedStepByStep() throws {
    let outcome = try search("", without: [.gone], first: true)
    let text = Summary.worded(try #require(outcome.traces.first))
    #expect(text.hasPrefix("P7 broken: lost only after"))
    #expect(text.contains("1. the dashboard marks it as sent in the store\n"))
  }

  @Test func everyRuleIsListedShownOrSaidToShowNothing() {
    for rule in Rules.Name.allCases {
      #expect(Rules.all.has(rule) && !Rules.all.without([rule]).has(rule))
      #expect((Budgets.showing[rule] != nil) != Budgets.silent.contains(rule), "\(rule)")
      #expect(Explore.list().contains(rule.words))
    }
  }

  @Test func aStateSurvivesItsPacking() throws {
    var world = World()
    world.store.number = 37
    world.redis.stream1 = Report(7, journal: 6, incarnation: 15, sequence: 31, behind: 4)
    world.redis.stream0 = world.redis.stream1
    world.redisCopy.fenced = 0b1010_1010
    world.hasRedisCopy = 1
    world.copy.sequence = 31
    world.disk.count = 30
    world.agent.say2 = 10
    world.left.redis = 1
    world.left.restore = 2
    let layout = Layout(world.left)
    #expect(World(world.packed(layout), layout) == world)
    #expect(layout.words <= Layout.longest)
  }

  @Test func statesThatDifferOnlyInTheNamesOfSequencesAreOne() {
    var world = World()
    world.agent.oldest = 9
    world.agent.append(Saying.unknown)
    world.store.sequence = 8
    world.redis.push(Report(Saying.unknown, journal: 1, incarnation: 0, sequence: 9, behind: 0))
    world.normalize()
    #expect(world.store.sequence == 1 && world.agent.oldest == 2 && world.redis.stream0.sequence == 2)
    // A gap stays a gap.
    world.redis.stream0.sequence = 7
    world.normalize()
    #expect(world.redis.stream0.sequence > world.agent.oldest + 1)
  }

  @Test func aWrongCommandLineIsRefusedInWords() {
    for line in ["dashboard=4", "dashboards=1", "--without=nothing", "--limit=0", "--alle", "redis"] {
      var arguments = Arguments()
      #expect(throws: Arguments.Fault.self) { try arguments.read([line]) }
    }
    var arguments = Arguments()
    #expect(throws: Never.self) { try arguments.read(["redis=1", "restore=2", "--without=first,tomb", "--first"]) }
    #expect(arguments.faults.text == "redis=1 restore=2")
    #expect(arguments.without == [.first, .tomb])
  }
}
