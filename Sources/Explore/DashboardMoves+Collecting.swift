// What the dashboard hears: reports in the order of their stream, judged and committed.
import Shared

extension Setting {
  // MARK: ReportCollector

  func collectingMoves(_ world: World, _ out: inout Moves) {
    if !has(.stream), world.redis.lease != 0, Names.addressJournal(world.redis.lease) != world.store.journal {
      out.add("the dashboard judges the identity by the lease", world) { w in identity(&w, Names.addressJournal(w.redis.lease)) }
    }
    guard world.redis.stream0.isThere, world.compared || !has(.number) || !has(.hears) else { return }
    var committed = world
    guard commit(&committed) else {
      out.add("the dashboard reads a word that nothing was started, and puts a tombstone into Redis", world) { w in entomb(&w) }
      return
    }
    out.add("the dashboard commits the next report", committed) { w in
      w.redis.pop()
      // Where nobody can fail in between, the acknowledgement comes with it.
      if acknowledgesAtOnce, w.agent.up == 2 { w.acknowledge() }
    }
    if world.left.dashboard > 0 {
      out.add("the dashboard commits the next report and crashes before it deletes it", committed, fault: true) { w in
        w.left.dashboard -= 1
        w.dashboardDies()
      }
    }
  }

  /// FlowReports.apply on a batch of one event. False: a tombstone has to stand first.
  func commit(_ world: inout World) -> Bool {
    let report = world.redis.stream0
    var sequence = CommittedSequence(
      incarnation: Names.incarnation(world.store.incarnation), sequence: UInt64(world.store.sequence),
      former: has(.former) ? Names.incarnations(world.store.former) : [])
    let from = Names.incarnation(report.incarnation)
    let judgement = sequence.judge(
      incarnation: from, first: UInt64(report.sequence), count: 1, oldest: UInt64(report.sequence - report.behind),
      sameJournal: report.journal == world.store.journal)
    if has(.sequence) {
      guard case .apply = judgement else { return true }
    } else if case .apply = judgement {
    } else {
      sequence.sequence = sequence.incarnation == from ? max(sequence.sequence, UInt64(report.sequence)) : UInt64(report.sequence)
      sequence.incarnation = from
    }
    world.store.incarnation = report.incarnation
    world.store.sequence = UInt8(sequence.sequence)
    world.store.former = Names.incarnations(sequence.former)
    if report.kind == Saying.hello, has(.number), has(.told) {
      var agent = AgentKnowledge(number: Names.number(world.store.number))
      if agent.learns(Names.number(world.redis.told)) {
        world.store.number = Names.number(agent.number)
        storeWasRestored(&world)
      }
    }
    if has(.stream) { identity(&world, report.journal) }
    guard let word = Names.words[Int(report.kind)] else { return true }
    var knowledge = world.knowledge
    if !has(.tomb) { knowledge.tomb = .cancelled }
    if !has(.reported), word == .unknown { knowledge.reported = false }
    // Without the rule `mark` the process alone knows that it was sent.
    switch knowledge.hear(word) {
    case .tombstoneFirst: return false
    case .refused, .noted, .moved, .ended, .nextAttempt:
      if !has(.reported), word == .unknown { knowledge.reported = world.store.reported == 1 }
      world.keep(knowledge)
      return true
    }
  }

  /// FlowReports.judgeIdentity.
  func identity(_ world: inout World, _ journal: UInt8) {
    var agent = AgentKnowledge(journal: Names.journal(world.store.journal), number: .zero)
    guard agent.speaks(with: Names.journal(journal)) else { return }
    world.store.journal = journal
    var knowledge = world.knowledge
    if !has(.mark), world.dashboard.sentUnmarked != 0, knowledge.state == .queued { knowledge.state = .sent }
    let isConcerned = knowledge.journalChanged()
    if isConcerned && !has(.close) {
      knowledge.closing = false
      knowledge.state = .lost
    }
    world.keep(knowledge)
  }
}
