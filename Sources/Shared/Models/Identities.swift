// The names that travel: agents, runs, attempts, journals, incarnations. Ids are types, never bare strings.
// Their text forms are those of API.md; `RunID.description` is the seeds' `auuid`.

/// A name that an operator chose: an agent's uuid, a project, a queue. Its rules are `NameRules` (API.md, "Conventions").
public struct AgentID: Hashable, Sendable, Codable, Comparable, CustomStringConvertible {
  public let text: String
  public init(_ text: String) { self.text = text }
  /// - Throws: also for what is no name: no key of Redis, file or route could hold it.
  public init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    text = try container.decode(String.self)
    guard let fault = nameFault(text) else { return }
    throw DecodingError.dataCorruptedError(in: container, debugDescription: "an agent's name \(fault)")
  }
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(text)
  }
  public var description: String { text }
  public static func < (a: AgentID, b: AgentID) -> Bool { a.text < b.text }
}

/// One run: a task on one agent. Text: `<uuid>-<task id>`, the seeds' `auuid`.
public struct RunID: Hashable, Sendable, CustomStringConvertible {
  public let agent: AgentID
  public let task: ULID
  public init(agent: AgentID, task: ULID) {
    self.agent = agent
    self.task = task
  }
  /// Nil unless the text ends in `-` and a ULID. The uuid itself is not checked against the name rules.
  public init?(_ text: String) {
    guard let (prefix, task) = RunID.split(text) else { return nil }
    self.init(agent: AgentID(prefix), task: task)
  }
  public var description: String { "\(agent.text)-\(task)" }

  /// Splits `<something>-<ULID>`; a task's own `auuid` has the project in front.
  public static func split(_ text: String) -> (prefix: String, task: ULID)? {
    let bytes = text.utf8
    guard bytes.count > 27 else { return nil }
    let dash = bytes.index(bytes.endIndex, offsetBy: -27)
    guard bytes[dash] == UInt8(ascii: "-"), let task = ULID(String(text[bytes.index(after: dash)...])) else { return nil }
    return (String(text[..<dash]), task)
  }
}

/// One start of a run on its agent: the key under which it stands in the inbox, in tombstones and in the journal.
/// Text: the task's ULID for the first attempt, `<ULID>.<n>` for a later one.
public struct AttemptID: Hashable, Sendable, Comparable, CustomStringConvertible {
  public let task: ULID
  /// From 1, to `most` where it was read.
  public let attempt: Int
  /// No task is started more often.
  public static let most = Retries.most + 1
  public init(task: ULID, attempt: Int = 1) {
    self.task = task
    self.attempt = attempt
  }
  public init?(_ text: String) {
    let parts = text.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
    guard let first = parts.first, let task = ULID(String(first)) else { return nil }
    if parts.count == 1 {
      self.init(task: task)
    } else {
      // One id has one text: no "+2" and no "02".
      guard let n = Int(parts[1]), (2...Self.most).contains(n), String(n) == parts[1] else { return nil }
      self.init(task: task, attempt: n)
    }
  }
  public var description: String { attempt == 1 ? "\(task)" : "\(task).\(attempt)" }
  public static func < (a: AttemptID, b: AttemptID) -> Bool { (a.task, a.attempt) < (b.task, b.attempt) }
}

/// A random 64-bit name, 16 hexadecimal digits: journals, incarnations, stores, dashboard processes, record nonces.
public struct Nonce: Hashable, Sendable, Codable, CustomStringConvertible {
  public let value: UInt64
  public init(_ value: UInt64) { self.value = value }
  /// A fresh one from the system's generator.
  public static func random() -> Nonce { Nonce(UInt64.random(in: 1...UInt64.max)) }
  public init?(_ text: String) {
    guard text.utf8.count == 16, let value = UInt64(text, radix: 16) else { return nil }
    self.value = value
  }
  public var description: String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }
  public init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    let text = try container.decode(String.self)
    guard let nonce = Nonce(text) else {
      throw DecodingError.dataCorruptedError(in: container, debugDescription: "'\(text)' is not 16 hexadecimal digits")
    }
    self = nonce
  }
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(description)
  }
}

/// A journal's identity: made with it, changed when it lacks what Redis holds of it.
public typealias JournalID = Nonce
/// One process life of an agent.
public typealias Incarnation = Nonce

/// Who speaks: the journal and the process life. Text `journal:incarnation`, the first word of a lease.
public struct AgentAddress: Hashable, Sendable, Codable, CustomStringConvertible {
  public var journal: JournalID
  public var incarnation: Incarnation
  public init(journal: JournalID, incarnation: Incarnation) {
    self.journal = journal
    self.incarnation = incarnation
  }
  public init?(_ text: String) {
    let parts = text.split(separator: ":")
    guard parts.count == 2, let journal = Nonce(String(parts[0])), let incarnation = Nonce(String(parts[1])) else { return nil }
    self.init(journal: journal, incarnation: incarnation)
  }
  public var description: String { "\(journal):\(incarnation)" }
}

/// A journal's record as Redis remembers it. Text `id:count:nonce` (DESIGN section 4).
public struct JournalPosition: Hashable, Sendable, CustomStringConvertible {
  public var journal: JournalID
  /// Records written so far, from 1.
  public var count: UInt64
  /// The random mark of that record, so that a rolled-back journal that wrote on is told from the true one.
  public var nonce: Nonce
  public init(journal: JournalID, count: UInt64, nonce: Nonce) {
    self.journal = journal
    self.count = count
    self.nonce = nonce
  }
  public init?(_ text: String) {
    let parts = text.split(separator: ":")
    guard parts.count == 3, let journal = Nonce(String(parts[0])), let count = UInt64(parts[1]),
      let nonce = Nonce(String(parts[2]))
    else { return nil }
    self.init(journal: journal, count: count, nonce: nonce)
  }
  public var description: String { "\(journal):\(count):\(nonce)" }
}

/// An agent's send number `fence:count` (DESIGN, "An unmarked run was never sent"), as one integer that Lua compares exactly:
/// the fence in the bits above 32, the count below. Bounds: fence < 2²¹, count < 2³²; so each is below 2⁵³.
public struct SendNumber: Hashable, Sendable, Comparable, Codable, CustomStringConvertible {
  public let raw: Int64
  /// Whether a store may take it over: the upper half of all numbers remains for those that the store goes on with, so that whatever it was told
  /// it never runs out of them. A million starts of dashboards lie below.
  public var isCredible: Bool { Bounds.whole.contains(raw) && raw < Bounds.whole.upperBound / 2 }
  public init(raw: Int64) { self.raw = raw }
  public init(fence: Fence, count: Int64 = 0) { raw = fence << 32 | count }
  public static let zero = SendNumber(raw: 0)
  public var next: SendNumber { SendNumber(raw: raw + 1) }
  /// As `muster:{uuid}:sends` holds it; nil for what is no number of ours.
  public init?(_ text: String) {
    guard let raw = Int64(text), Bounds.whole.contains(raw) else { return nil }
    self.raw = raw
  }
  public init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    raw = try container.decode(Int64.self)
    guard let fault = Bounds.fault("a send number", raw) else { return }
    throw DecodingError.dataCorruptedError(in: container, debugDescription: fault)
  }
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(raw)
  }
  public var description: String { "\(raw >> 32):\(raw & 0xffff_ffff)" }
  public static func < (a: SendNumber, b: SendNumber) -> Bool { a.raw < b.raw }
}

/// The writing dashboard's growing number: a script refuses one smaller than it has seen.
public typealias Fence = Int64

/// What a fence may be: the upper part of a `SendNumber`.
public enum Fences {
  public static let all: Range<Fence> = 0..<1 << 21

  /// As `muster:fence` holds it; nil for what no dashboard can have written.
  public static func read(_ text: some StringProtocol) -> Fence? {
    Fence(text).flatMap { all.contains($0) ? $0 : nil }
  }
}
