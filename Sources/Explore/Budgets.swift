// Which budgets are searched: all rules in force (`standard`), each rule left out (`showing`), and what `make test` takes of both.

enum Budgets {
  static let standard = [
    "", "away=1 restore=1", "restore=1 month=1", "restore=1 net=1", "restore=1 more=1", "restore=1 agent=1", "dashboard=2 net=1",
    "twin=1 agent=1", "remove=1 agent=1", "agent=2 runner=1", "net=1 agent=1", "net=1 remove=1 agent=1", "redis=1 remove=1",
    "journal=1", "journal=1 other=1", "redis=1 dashboard=1", "redis=1 agent=1", "reboot=2", "reboot=1 agent=1",
    "reboot=1 runner=1", "reboot=1 net=1", "reboot=1 restore=1", "reboot=1 journal=1", "journal=1 net=1", "journal=1 restore=1",
    "dashboard=1 restore=1 net=1", "restore=2 more=1", "journal=1 agent=1", "reboot=1 agent=1 runner=1",
  ]

  /// Seconds in a debug build.
  static let small = ["", "dashboard=1", "agent=1"]

  struct Shown: Sendable {
    var budget: String
    var property: Property
    /// Of the shortest trace.
    var steps: Int
  }

  /// What breaks when a rule is left out, and the budget that shows it.
  static let showing: [Rules.Name: Shown] = [
    .first: Shown(budget: "", property: .p3, steps: 14),
    .word: Shown(budget: "", property: .p3, steps: 10),
    .noDenial: Shown(budget: "", property: .p3, steps: 12),
    .gone: Shown(budget: "", property: .p7, steps: 10),
    .order: Shown(budget: "agent=1", property: .p4, steps: 12),
    .handFirst: Shown(budget: "", property: .p3, steps: 12),
    .mark: Shown(budget: "dashboard=1", property: .p3, steps: 13),
    .file: Shown(budget: "runner=1", property: .p1, steps: 12),
    .plainFile: Shown(budget: "agent=2 runner=1", property: .p7, steps: 16),
    .confirm: Shown(budget: "remove=1", property: .p6, steps: 7),
    .fenced: Shown(budget: "remove=1", property: .p6, steps: 8),
    .lease: Shown(budget: "twin=1", property: .p6, steps: 16),
    .bind: Shown(budget: "twin=1", property: .p1, steps: 19),
    .records: Shown(budget: "reboot=1", property: .p4, steps: 10),
    .boot: Shown(budget: "reboot=1", property: .p1, steps: 14),
    .taking: Shown(budget: "reboot=1", property: .p1, steps: 14),
    .number: Shown(budget: "restore=1", property: .p3, steps: 13),
    .tomb: Shown(budget: "restore=1", property: .p5, steps: 13),
    .answer: Shown(budget: "restore=1", property: .p2, steps: 11),
    .heed: Shown(budget: "restore=1", property: .p2, steps: 4),
    .tombFirst: Shown(budget: "away=1 restore=1", property: .p3, steps: 13),
    .horizon: Shown(budget: "restore=1 month=1", property: .p3, steps: 16),
    .raises: Shown(budget: "restore=1 net=1", property: .p3, steps: 15),
    .fence: Shown(budget: "restore=1 net=1", property: .p3, steps: 15),
    .before: Shown(budget: "restore=1 more=1", property: .p3, steps: 15),
    .kept: Shown(budget: "dashboard=1 restore=1 net=1", property: .p3, steps: 18),
    .pair: Shown(budget: "restore=2 more=1", property: .p3, steps: 18),
    .position: Shown(budget: "journal=1", property: .p3, steps: 18),
    .tombSure: Shown(budget: "journal=1", property: .p3, steps: 17),
    .sure: Shown(budget: "journal=1", property: .p3, steps: 17),
    .forward: Shown(budget: "journal=1 net=1", property: .p3, steps: 20),
    .nonce: Shown(budget: "journal=1 other=1", property: .p3, steps: 19),
    .meant: Shown(budget: "journal=1", property: .p1, steps: 22),
    .close: Shown(budget: "journal=1 restore=1", property: .p5, steps: 14),
    .hears: Shown(budget: "journal=1 restore=1", property: .p5, steps: 20),
    .asks: Shown(budget: "journal=1 restore=1", property: .p5, steps: 19),
    .endSync: Shown(budget: "reboot=1 restore=1", property: .p5, steps: 20),
    .sequence: Shown(budget: "redis=1", property: .p7, steps: 17),
    .former: Shown(budget: "agent=1 redis=1", property: .p7, steps: 23),
  ]

  /// Nothing was seen to break without these: docs/rules.md says what they are good for.
  static let silent: Set<Rules.Name> = [.ask, .reported, .named, .alive, .posSync, .told, .stream]

  /// Shown soon enough for a debug build.
  static let soon: [Rules.Name] = [
    .first, .word, .noDenial, .gone, .order, .handFirst, .mark, .file, .confirm, .fenced, .lease, .bind, .taking, .boot, .records,
    .number, .tomb, .tombFirst, .horizon,
  ]
}
