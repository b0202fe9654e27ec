import Shared
import Testing

@testable import Agent

@Suite struct SignalNamesTests {
  @Test func theAgentKnowsEverySignalThatTheDashboardTakes() {
    for name in SignalName.all { #expect(SystemNames.signal(named: name).map { SystemNames.signal($0) } == name) }
    #expect(Set(SignalName.all) == Set((1...31).map { SystemNames.signal($0) }))
  }
}
