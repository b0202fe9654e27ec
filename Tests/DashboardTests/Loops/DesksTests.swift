import Shared
import Testing

@testable import Dashboard

@Suite struct DesksTests {
  private let agent = AgentID("a")
  private let ids = ULIDGenerator()

  @Test func whatMayHaveBeenSentIsAskedAboutBesideEverythingThatIsToBeReadAnyway() {
    let (early, late) = (ids.next(), ids.next())
    var desk = Desk()
    // A hello has come: all of its open runs are to be read. A few that are known by name must not take their place.
    desk.ask([late])
    #expect(desk.toAsk == nil)
    desk.toAsk = [early]
    desk.ask([late])
    #expect(desk.toAsk == [early, late])
  }

  @Test func whenARunWasAskedAboutIsForgottenOnceItMakesNoDifference() {
    let desks = Desks()
    let (old, young) = (ids.next(), ids.next())
    let now = SuspendingClock.now
    desks.withDesk(agent) { $0.asked = [old: now, young: now + .seconds(2)] }
    desks.settle(now: now + .seconds(1))
    #expect(desks.desk(agent).asked.count == 2)
    desks.settle(now: now + BusLimits.silence)
    #expect(Array(desks.desk(agent).asked.keys) == [young])
    desks.settle(now: now + BusLimits.silence + .seconds(3))
    #expect(desks.desk(agent).asked.isEmpty)
  }
}
