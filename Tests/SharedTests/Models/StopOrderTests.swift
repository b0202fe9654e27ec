import Shared
import Testing

@Suite struct StopOrderTests {
  @Test func aLaterRequestIsHarderOrChangesNothing() {
    let gentle = StopOrder(signal: "TERM", grace: 10)
    #expect(StopOrder().followed(by: gentle) == gentle)
    #expect(gentle.followed(by: StopOrder()) == gentle)
    #expect(gentle.followed(by: StopOrder(signal: "INT", grace: 60)) == StopOrder(signal: "INT", grace: 10))
    #expect(gentle.followed(by: StopOrder(grace: 1)) == StopOrder(signal: "TERM", grace: 1))
    #expect(StopOrder(signal: "KILL").followed(by: gentle) == StopOrder(signal: "KILL", grace: 10), "nothing takes KILL back")
  }

  @Test func signalsAreKnownByNameWithAndWithoutSIGInAnyCase() {
    for name in ["TERM", "SIGTERM", "sigterm", "Term"] { #expect(SignalName.canonical(name) == "TERM") }
    for name in ["", "SIG", "NOPE", "9", "SIGSIGTERM", "TERM "] { #expect(SignalName.canonical(name) == nil, "\(name)") }
  }
}
