// What may go wrong, each kind so and so often: a budget. The search tries every order of all of it.
// When adding a kind: its move, a bit in `Past` if a property has to know of it, and its words here.

struct Faults: Hashable, Sendable {
  var dashboard: UInt8 = 0
  var agent: UInt8 = 0
  var runner: UInt8 = 0
  var reboot: UInt8 = 0
  var redis: UInt8 = 0
  var journal: UInt8 = 0
  var restore: UInt8 = 0
  var net: UInt8 = 0
  var away: UInt8 = 0
  var remove: UInt8 = 0
  var twin: UInt8 = 0
  var month: UInt8 = 0
  var other: UInt8 = 0
  var more: UInt8 = 0

  static let table: [(name: String, place: WritableKeyPath<Faults, UInt8> & Sendable, words: String)] = [
    ("dashboard", \.dashboard, "the dashboard crashes, also between a commit and its delete"),
    ("agent", \.agent, "the agent crashes; its runners go on"),
    ("runner", \.runner, "a runner is killed"),
    ("reboot", \.reboot, "the host loses power: what was not synced may be gone, each by itself"),
    ("redis", \.redis, "Redis is flushed, or falls back to an earlier point"),
    ("journal", \.journal, "the host gets a new disk, or is rolled back to a snapshot"),
    ("restore", \.restore, "the database is restored from a copy; from 2 on the replaced one may come back"),
    ("net", \.net, "a reply is lost, or a send or confirm is executed late"),
    ("away", \.away, "an end while Redis is away"),
    ("remove", \.remove, "an operator removes the agent"),
    ("twin", \.twin, "the host is cut off and another one with its uuid takes over"),
    ("month", \.month, "thirty days pass, and the journal forgets"),
    ("other", \.other, "another run of that agent ends"),
    ("more", \.more, "another run of that agent is marked and sent"),
  ]

  init() {}

  /// `redis=1 restore=2`. Nil: not such a text; up to 3 of each.
  init?(_ text: String) {
    for part in text.split(separator: " ") {
      let pair = part.split(separator: "=")
      guard pair.count == 2, let count = UInt8(pair[1]), count <= 3, let row = Faults.table.first(where: { $0.name == pair[0] })
      else {
        return nil
      }
      self[keyPath: row.place] = count
    }
  }

  /// Whether everything that may go wrong in the other budget may go wrong in this one.
  func covers(_ other: Faults) -> Bool { Faults.table.allSatisfy { self[keyPath: $0.place] >= other[keyPath: $0.place] } }

  var text: String {
    let parts = Faults.table.filter { self[keyPath: $0.place] > 0 }.map { "\($0.name)=\(self[keyPath: $0.place])" }
    return parts.isEmpty ? "no fault" : parts.joined(separator: " ")
  }

  /// Fences grow only where somebody could speak late or from a copy; elsewhere they would only multiply states.
  var needFences: Bool { net > 0 || restore > 0 }
}
