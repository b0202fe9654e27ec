// Breadth first through every state that a budget allows, so that the first trace found is a shortest one. A state is kept as a few packed words;
// a table of fingerprints and places finds it again, compared word by word: no two states are ever taken for one.
// Property P2 is judged at the end: backwards from the states with a verdict along the moves that are no faults.

struct Trace: Sendable {
  var property: Property
  var steps: [String]
  var note = ""
}

struct Outcome: Sendable {
  var states = 0
  var traces: [Trace] = []
  /// False: stopped at the limit or at the first broken property.
  var isComplete = true
  var bytesPerState = 0
}

struct Search {
  let setting: Setting
  /// Stop at the first broken property.
  var stopsAtFirst = false
  var limit = 40_000_000

  func run() -> Outcome {
    var visited = StateSet(words: setting.layout.words)
    var parents = ContiguousArray<UInt32>()
    // Moves without a fault, for P2: those of state n stand from `edgeStarts[n]` on.
    var edges = ContiguousArray<UInt32>()
    var edgeStarts = ContiguousArray<UInt32>()
    var isGood = ContiguousArray<Bool>()
    var moves = Moves()
    var outcome = Outcome()
    var found: Set<Property> = []
    _ = visited.insert(setting.start.packed(setting.layout))
    parents.append(0)
    var at = 0
    while at < visited.count {
      edgeStarts.append(UInt32(edges.count))
      let world = World(visited[at], setting.layout)
      if let property = Property.broken(world) {
        isGood.append(true)
        if found.insert(property).inserted {
          outcome.traces.append(Trace(property: property, steps: steps(to: at, visited, parents)))
          if stopsAtFirst {
            outcome.isComplete = false
            break
          }
        }
      } else if world.isBeyondPromise {
        isGood.append(true)
      } else {
        isGood.append(!world.isOpen)
        setting.moves(world, into: &moves)
        for index in moves.worlds.indices {
          let (place, isNew) = visited.insert(moves.worlds[index].packed(setting.layout))
          if isNew { parents.append(UInt32(at)) }
          if world.isOpen, !moves.faults[index], place != at { edges.append(UInt32(place)) }
        }
      }
      at += 1
      if visited.count > limit {
        outcome.isComplete = false
        break
      }
    }
    outcome.states = visited.count
    if outcome.isComplete {
      edgeStarts.append(UInt32(edges.count))
      reachBack(&isGood, edges, edgeStarts)
      if let stuck = isGood.firstIndex(of: false) {
        let count = isGood.reduce(0) { $0 + ($1 ? 0 : 1) }
        outcome.traces.append(Trace(property: .p2, steps: steps(to: stuck, visited, parents), note: "\(count) such states"))
      }
    }
    outcome.bytesPerState =
      (visited.bytes + 4 * (parents.count + edges.count + edgeStarts.count) + isGood.count) / max(1, visited.count)
    visited.free()
    return outcome
  }

  /// Most moves lead to states that were found later: a few sweeps from the end do.
  private func reachBack(
    _ isGood: inout ContiguousArray<Bool>, _ edges: ContiguousArray<UInt32>, _ starts: ContiguousArray<UInt32>
  ) {
    var changed = true
    while changed {
      changed = false
      for state in isGood.indices.reversed() where !isGood[state] {
        for edge in Int(starts[state])..<Int(starts[state + 1]) where isGood[Int(edges[edge])] {
          isGood[state] = true
          changed = true
          break
        }
      }
    }
  }

  /// The words are not kept: each step is found again among its parent's moves.
  private func steps(to last: Int, _ visited: StateSet, _ parents: ContiguousArray<UInt32>) -> [String] {
    var steps: [String] = []
    var moves = Moves()
    var at = last
    while at != 0 {
      let parent = Int(parents[at])
      setting.moves(World(visited[parent], setting.layout), into: &moves)
      let target = visited[at]
      let index = moves.worlds.firstIndex { $0.packed(setting.layout) == target }
      steps.append(index.map { "\(moves.words[$0])" } ?? "?")
      at = parent
    }
    return steps.reversed()
  }
}
