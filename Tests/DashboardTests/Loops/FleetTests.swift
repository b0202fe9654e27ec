import Shared
import Testing

@testable import Dashboard

@Suite struct FleetTests {
  private let a = AgentID("a")
  private let start = SuspendingClock.now
  private func lease(_ count: Int) -> Lease {
    Lease(
      address: AgentAddress(journal: Nonce(1), incarnation: Nonce(2)),
      beat: Heartbeat(count: count, load1: 0, running: 0, waiting: 0, concurrency: 1, health: "healthy", hostname: "h", pid: 1))
  }

  /// Rule `silence`.
  @Test func anAgentIsAbsentAfter15SecondsOfUnbrokenContactWithoutAChangedHeartbeat() {
    let fleet = Fleet()
    fleet.contact(true, now: start)
    _ = fleet.seen([(a, 1000)], now: start)
    fleet.lease(a, lease(1), now: start)
    #expect(fleet.isOnline(a))
    #expect(fleet.judgeAbsence(now: start + .seconds(14)).isEmpty)
    #expect(fleet.judgeAbsence(now: start + .seconds(15)) == [a])
    #expect(!fleet.isOnline(a))
  }

  @Test func silenceWhileRedisIsAwayCountsForNothing() {
    let fleet = Fleet()
    fleet.contact(true, now: start)
    _ = fleet.seen([(a, 1000)], now: start)
    fleet.lease(a, lease(1), now: start)
    fleet.contact(false)
    #expect(fleet.judgeAbsence(now: start + .seconds(60)).isEmpty)
    fleet.contact(true, now: start + .seconds(60))
    #expect(fleet.judgeAbsence(now: start + .seconds(70)).isEmpty)
    #expect(fleet.judgeAbsence(now: start + .seconds(75)) == [a])
  }

  @Test func aChangedHeartbeatKeepsItOnlineAndAWordBringsItBack() {
    let fleet = Fleet()
    fleet.contact(true, now: start)
    _ = fleet.seen([(a, 1000)], now: start)
    fleet.lease(a, lease(1), now: start)
    #expect(fleet.seen([(a, 2000)], now: start + .seconds(10)) == [a])
    #expect(fleet.judgeAbsence(now: start + .seconds(20)).isEmpty)
    #expect(fleet.judgeAbsence(now: start + .seconds(25)) == [a])
    let came = fleet.spoke(a, at: 3000, now: start + .seconds(26))
    #expect(came && fleet.isOnline(a))
    fleet.left(a)
    #expect(!fleet.isOnline(a))
  }

  @Test func anOldNameInTheSetIsNobody() {
    let fleet = Fleet()
    fleet.contact(true, now: start)
    #expect(fleet.seen([(a, 1000)], now: start) == [a])
    fleet.lease(a, nil, now: start)
    #expect(!fleet.isOnline(a))
    #expect(fleet.presence(of: a).lastSeenAt == 1000)
  }

  @Test func whatRedisHoldsOfAnAgentIsWholeOnlyOnceItWasHeardSinceRedisWasLost() {
    // Found by chaos: a dashboard that started after Redis had come back empty took two of three members for the whole project.
    let fleet = Fleet(now: start)
    let later = start + BusLimits.gathering
    _ = fleet.seen([(a, 1000)], now: start)
    #expect(fleet.isGathering(a, now: later))
    fleet.spoke(a, at: 1000, now: start + .seconds(1))
    #expect(fleet.isGathering(a, now: start + .seconds(2)))
    #expect(!fleet.isGathering(a, now: later))
    fleet.redisWasLost(now: later)
    #expect(fleet.isGathering(a, now: later + .seconds(3600)))
    _ = fleet.seen([(a, 2000)], now: later + .seconds(3600))
    #expect(!fleet.isGathering(a, now: later + .seconds(3601)))
  }

  @Test func aLookThatStalledWithEverybodysHeartbeatsProvesNobodysAbsence() {
    let fleet = Fleet()
    for second in 0...10 { fleet.contact(true, now: start + .seconds(second)) }
    _ = fleet.seen([(a, 1000)], now: start)
    fleet.lease(a, lease(1), now: start)
    // Redis answered nobody for 10 s.
    fleet.contact(true, now: start + .seconds(20))
    #expect(fleet.judgeAbsence(now: start + .seconds(20)).isEmpty)
    for second in 21...34 {
      fleet.contact(true, now: start + .seconds(second))
      #expect(fleet.judgeAbsence(now: start + .seconds(second)).isEmpty)
    }
    fleet.contact(true, now: start + .seconds(35))
    #expect(fleet.judgeAbsence(now: start + .seconds(35)) == [a])
  }

  @Test func runsOfAnAbsentAgentAreLookedAtOnceUntilItSpeaksOrSomethingIsMarked() {
    let fleet = Fleet()
    let b = AgentID("b")
    fleet.expect([a, b], now: start)
    fleet.contact(true, now: start)
    #expect(fleet.judgeAbsence(now: start + .seconds(14)).isEmpty && fleet.lapsed().isEmpty)
    // Neither was ever online here: nobody is told that they went, and their runs are looked at all the same.
    #expect(fleet.judgeAbsence(now: start + .seconds(15)).isEmpty)
    #expect(Set(fleet.lapsed()) == [a, b])
    fleet.settle(a)
    #expect(fleet.lapsed() == [b])
    fleet.spoke(b, at: 1, now: start + .seconds(16))
    #expect(fleet.lapsed().isEmpty)
    fleet.unsettle(a)
    #expect(fleet.lapsed() == [a])
    fleet.forget(a)
    #expect(fleet.lapsed().isEmpty)
    // One that said that it stops is absent like any other once its silence has lasted.
    fleet.left(b)
    #expect(fleet.judgeAbsence(now: start + .seconds(30)).isEmpty && fleet.lapsed().isEmpty)
    #expect(fleet.judgeAbsence(now: start + .seconds(31)).isEmpty)
    #expect(fleet.lapsed() == [b])
  }
}
