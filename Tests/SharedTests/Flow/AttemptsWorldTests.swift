import Testing

@testable import Shared

/// Random walks over runs of several attempts: never two attempts open at once, none started twice, none beyond those asked for, the verdict
/// final and the agent's own, and from everywhere a verdict is reached. A broken promise prints its seed and its moves.
@Suite struct AttemptsWorldTests {
  private func walk(seed: UInt64, faults: [AttemptsWorld.Move], count: Int = 120) throws -> AttemptsWorld {
    var random = SplitMix(seed: seed)
    let ons: [Set<RunState>] = [[.failed], [.failed, .timedOut], [.lost], [.failed, .timedOut, .lost]]
    let retries = Retries(count: Int(random.next() % 4), delay: .zero, on: ons[Int(random.next() % 4)])
    var world = AttemptsWorld(retries: retries)
    do {
      for _ in 0..<count {
        let possible = world.possible + (faults.isEmpty || random.next() % 6 > 0 ? [] : faults)
        guard let move = possible.isEmpty ? nil : possible[Int(random.next() % UInt64(possible.count))] else { break }
        try world.make(move, &random)
      }
      // Without further faults it comes to an end.
      var left = 2000
      while !world.possible.isEmpty {
        left -= 1
        guard left > 0 else { throw BrokenPromise("no verdict is reached: \(world.store)") }
        try world.make(world.possible[Int(random.next() % UInt64(world.possible.count))], &random)
      }
      guard world.isOver else { throw BrokenPromise("it stands still: \(world.store)") }
    } catch let broken as BrokenPromise {
      throw BrokenPromise(
        "seed \(seed), retries \(retries): \(broken). Moves: \(world.moves.map { "\($0)" }.joined(separator: " "))")
    }
    return world
  }

  @Test(arguments: [
    [], [AttemptsWorld.Move.cancel], [.crash], [.crash, .cancel], [.copy, .restore], [.copy, .restore, .cancel],
    [.copy, .restore, .cancel, .crash],
  ])
  func everyWalkKeepsThePromises(_ faults: [AttemptsWorld.Move]) throws {
    var started: [Int: Int] = [:]
    for seed in 0..<1500 { started[try walk(seed: UInt64(seed), faults: faults).started, default: 0] += 1 }
    // The walks would prove nothing if they never came to a later attempt.
    #expect((1...3).allSatisfy { started[$0, default: 0] > 10 }, "\(started)")
  }
}
